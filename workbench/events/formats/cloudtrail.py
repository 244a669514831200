"""AWS CloudTrail files: ``{"Records": [...]}``, plain or gzipped.

The user is who acted (user name, else the session's issuer, else the ARN, else the calling service), the source is
the access key, the resource is the service. The user agent, the region, the error code and the request's resource
names stay in the attributes: in a staged attack they give the answer away, so no feature may rest on them by accident.
Field meanings: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
"""

import duckdb

from workbench.events.formats.reading import IngestOptions, Source, path_text, text, wide
from workbench.events.formats.times import moment
from workbench.events.mapping import TimeField

__all__ = ["looks_like", "select"]

_PATHS = {
    "id": "$.eventID",
    "time": "$.eventTime",
    "user_name": "$.userIdentity.userName",
    "issuer": "$.userIdentity.sessionContext.sessionIssuer.userName",
    "arn": "$.userIdentity.arn",
    "invoked_by": "$.userIdentity.invokedBy",
    "principal": "$.userIdentity.principalId",
    "kind": "$.userIdentity.type",
    "key": "$.userIdentity.accessKeyId",
    "address": "$.sourceIPAddress",
    "service": "$.eventSource",
    "name": "$.eventName",
    "error": "$.errorCode",
    "region": "$.awsRegion",
    "agent": "$.userAgent",
    "read_only": "$.readOnly",
    "account": "$.recipientAccountId",
    "request": "$.requestParameters",
}


def looks_like(head: str, name: str) -> bool:  # noqa: ARG001
    return head.lstrip().startswith("{") and '"Records"' in head[:200]


def select(connection: duckdb.DuckDBPyConnection, source: Source, options: IngestOptions) -> str:
    connection.execute("CREATE OR REPLACE TEMP TABLE misread (record BIGINT, reason VARCHAR, raw VARCHAR)")
    connection.execute("CREATE OR REPLACE TEMP TABLE records (record BIGINT, f VARCHAR[])")
    paths = ", ".join(text(path) for path in _PATHS.values())
    try:
        connection.execute(
            f"""INSERT INTO records
            SELECT record, json_extract_string(item, [{paths}]) FROM (
                SELECT unnest(items) AS item, generate_subscripts(items, 1) AS record FROM (
                    SELECT json_extract(json, '$.Records[*]') AS items
                    FROM read_json_objects({path_text(source.path)}, format='unstructured',
                        compression={text("gzip" if source.gzipped else "none")},
                        maximum_object_size={max(16_777_216, source.size * (40 if source.gzipped else 1) + 1024)})))"""
        )
    except duckdb.InvalidInputException:
        connection.execute("INSERT INTO misread VALUES (1, 'the file is not valid JSON', NULL)")
    f = {name: f"f[{index + 1}]" for index, name in enumerate(_PATHS)}
    when = moment(f["time"], TimeField(column="eventTime"), options.timezone)
    address = f"regexp_full_match({f['address']}, '[0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*')"
    return wide(
        "records",
        {
            "record": "record",
            "event_id": f["id"],
            "timestamp": when.utc,
            "utc_offset_min": when.offset_min,
            "user": f"""coalesce({f["user_name"]}, {f["issuer"]}, {f["arn"]}, {f["invoked_by"]},
                {f["principal"]}, {f["kind"]})""",
            "source": f["key"],
            "ip": f"CASE WHEN {address} THEN {f['address']} END",
            "action": f["name"],
            "resource": f["service"],
            "outcome": f"""CASE WHEN {f["error"]} IS NULL THEN 'success'
                WHEN regexp_matches({f["error"]}, '(?i)denied|unauthori[sz]ed|forbidden') THEN 'denied'
                ELSE 'failure' END""",
            "attributes": f"""json_object('region', {f["region"]}, 'user_agent', {f["agent"]}, 'error', {f["error"]},
                'read_only', {f["read_only"]}, 'account', {f["account"]}, 'identity_type', {f["kind"]},
                'address', {f["address"]}, 'request', {f["request"]}::JSON)""",
            "rejected": f"""CASE WHEN {f["name"]} IS NULL THEN 'no eventName'
                WHEN {f["time"]} IS NULL THEN 'no eventTime' ELSE {when.rejected} END""",
        },
    )
