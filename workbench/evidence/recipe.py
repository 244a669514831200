"""``README-VERIFY.txt``: how to check a bundle with openssl, sha256sum and a shell, without a line of our code.

The commands stand in one block that runs as it is, and a test runs it. It is signed with everything else, so it cannot
be swapped for one that checks nothing; whoever doubts even that takes it from the project's documentation.
"""

from typing import Final

__all__ = ["README_NAME", "RECIPE", "readme"]

README_NAME: Final = "README-VERIFY.txt"

RECIPE: Final = r"""
set -eu
export LC_ALL=C
fail() { echo "FAILED: $1"; exit 1; }
[ ! -e check ] && [ ! -L check ] || fail "there is something called check already"
mkdir check check/report check/ledger

# 1. One of the certificates is the root whose fingerprint you hold.
awk '/BEGIN CERT/{n++} {print > ("check/cert-" n ".pem")}' trust/certs.pem
for pem in check/cert-*.pem; do
  digest=$(openssl x509 -in "$pem" -outform DER | sha256sum | cut -d' ' -f1)
  if [ "$digest" = "$ROOT" ]; then cp "$pem" check/root.pem; fi
  case "$(openssl x509 -in "$pem" -noout -subject)" in
    *'workbench timestamp '*) cat "$pem" >> check/tsa.pem ;;
    *'workbench report '*) cp "$pem" "check/report/$digest.pem" ;;
    *'workbench ledger '*) cp "$pem" "check/ledger/$digest.pem" ;;
  esac
done
[ -f check/root.pem ] || fail "another root"
echo "1 ok: the root you named is there"

# 2. The report's signer: found by the SHA-256 of its certificate, which must be one for reports.
field() { sed -E "s/.*\"$2\":\"([^\"]*)\".*/\1/" "$1"; }
REPORT=$(field attestations/report.dsse.json keyid)
case "$REPORT" in *[!0-9a-f]*) fail "the signer" ;; esac
[ -f "check/report/$REPORT.pem" ] || fail "the signer's certificate is missing, or is not one for reports"
echo "2 ok: the signer's certificate is there"

# 3. When it was signed: the token covers the signature. -attime, or openssl would ask whether it is valid today.
time_of() { openssl ts -reply -in "$1" -text 2>/dev/null | sed -n 's/^Time stamp: //p'; }
field attestations/report.dsse.json sig | base64 -d > check/report.sig
AT=$(time_of timestamps/report.tsr); [ -n "$AT" ] || fail "the timestamp"
AT=$(date -u -d "$AT" +%s)
openssl ts -verify -in timestamps/report.tsr -digest "$(sha256sum check/report.sig | cut -d' ' -f1)" \
  -CAfile check/root.pem -untrusted check/tsa.pem -attime "$AT" >/dev/null 2>&1 || fail "the timestamp"
echo "3 ok: timestamped $(date -u -d "@$AT" '+%Y-%m-%d %H:%M:%S UTC')"

# 4. The signer's certificate was valid then, and the signature belongs to the statement (DSSE, PAE version 1).
openssl verify -x509_strict -attime "$AT" -CAfile check/root.pem "check/report/$REPORT.pem" >/dev/null 2>&1 \
  || fail "the certificate"
field attestations/report.dsse.json payload | base64 -d > check/statement.json
{ printf 'DSSEv1 28 application/vnd.in-toto+json %d ' "$(wc -c < check/statement.json)"
  cat check/statement.json; } > check/pae
openssl x509 -in "check/report/$REPORT.pem" -noout -pubkey > check/report.pub
openssl pkeyutl -verify -pubin -inkey check/report.pub -rawin -in check/pae -sigfile check/report.sig >/dev/null 2>&1 \
  || fail "the signature"
echo "4 ok: the statement is signed by $REPORT"

# 5. Every file is the one that was signed, and no other is there.
tr '{' '\n' < check/statement.json | tr -d '\n' | sed 's/"sha256":"/\n/g' \
  | sed -nE 's/^([0-9a-f]{64})"\},?"name":"([^"]*)".*/\1  \2/p' > check/files
[ "$(grep -c . check/files)" -ge 1 ] || fail "the statement names no file"
sha256sum --quiet --strict -c check/files 2>/dev/null || fail "a file was changed"
find . ! -type d | sed 's|^\./||' | grep -Ev '^(attestations|check|log|timestamps|trust)/' | sort > check/there
cut -c67- check/files | sort | diff - check/there >/dev/null || fail "a file was added or left out"
echo "5 ok: $(grep -c . check/files) files are as signed"

# 6. The log says so too. Its checkpoint is signed by a log key and timestamped.
head -n 3 log/checkpoint > check/checkpoint.body
AT=$(time_of timestamps/checkpoint.tsr); [ -n "$AT" ] || fail "the checkpoint's timestamp"
AT=$(date -u -d "$AT" +%s)
openssl ts -verify -in timestamps/checkpoint.tsr -data check/checkpoint.body -CAfile check/root.pem \
  -untrusted check/tsa.pem -attime "$AT" >/dev/null 2>&1 || fail "the checkpoint's timestamp"
tail -n 1 log/checkpoint | cut -d' ' -f3 | base64 -d | tail -c 64 > check/checkpoint.sig
signed=no
for pem in check/ledger/*.pem; do
  openssl verify -x509_strict -attime "$AT" -CAfile check/root.pem "$pem" >/dev/null 2>&1 || continue
  openssl x509 -in "$pem" -noout -pubkey > check/ledger.pub
  if openssl pkeyutl -verify -pubin -inkey check/ledger.pub -rawin -in check/checkpoint.body \
    -sigfile check/checkpoint.sig >/dev/null 2>&1; then signed=yes; fi
done
[ "$signed" = yes ] || fail "the checkpoint"
echo "6 ok: the log of $(sed -n 2p log/checkpoint) entries is signed and timestamped"

# 7. The report is in that log: its entry's hash, joined with the hashes of the proof, gives the checkpoint's root.
INDEX=$(sed -n 's/^index //p' log/report.tlog-proof)
sed -n "$((INDEX + 1))p" log/entries.jsonl | tr -d '\n' > check/entry
grep -q '"type":"report.signed"' check/entry || fail "not logged"
grep -q "\"envelopeSha256\":\"$(sha256sum attestations/report.dsse.json | cut -d' ' -f1)\"" check/entry \
  || fail "not logged"
{ printf '\000'; cat check/entry; } | openssl dgst -sha256 -binary > check/node
place=$INDEX; last=$(($(sed -n 2p log/checkpoint) - 1))
sed -n '3,/^$/p' log/report.tlog-proof | sed '/^$/d' > check/path
while read -r hash; do
  printf '%s' "$hash" | base64 -d > check/other
  if [ $((place % 2)) -eq 1 ] || [ "$place" -eq "$last" ]; then
    { printf '\001'; cat check/other check/node; } | openssl dgst -sha256 -binary > check/up
    while [ $((place % 2)) -eq 0 ] && [ "$place" -ne 0 ]; do place=$((place / 2)); last=$((last / 2)); done
  else
    { printf '\001'; cat check/node check/other; } | openssl dgst -sha256 -binary > check/up
  fi
  mv check/up check/node; place=$((place / 2)); last=$((last / 2))
done < check/path
[ "$(base64 < check/node)" = "$(sed -n 3p log/checkpoint)" ] || fail "the proof"
echo "7 ok: the report is entry $INDEX of the log"
rm -r check
"""

_TEXT: Final = """\
HOW TO CHECK THIS BUNDLE WITHOUT ANY SOFTWARE OF OURS

You need a Linux shell with openssl 3, GNU coreutils, sed, awk and diff, and the SHA-256 fingerprint of the root
certificate. Take the fingerprint from the printed thesis or from the university, never from this bundle: whoever forges
a bundle forges the fingerprint in it too.

Unpack the bundle into an empty folder, go there, put the fingerprint (64 hex digits, small letters, no colons) into the
first line below, and run everything from there to the end with bash.

    ROOT=...the fingerprint...
    unzip -q BUNDLE.evidence.zip -d bundle && cd bundle
    sed -n '/^----- begin/,/^----- end/p' README-VERIFY.txt | sed '1d;$d' > /dev/shm/steps.sh   # or any other place
    ROOT=$ROOT bash /dev/shm/steps.sh

What this shows: the files are those that the holder of the report key signed, at the time that the timestamp says,
under the root that you named, and the log of the project has it. There are seven lines that begin with a number and
say ok. What it does not show: whether the key was revoked, who approved, whether the log hides something, whether the
run's results are those that the log recorded. `workbench verify` checks these as well. And: a timestamp by the
workbench's own authority proves order, not the calendar date.

If the project has changed its root since, certificates of both roots are here. These steps do not follow from one to
the other: name the root under which this report was signed. `workbench verify` takes either.

----- begin
{recipe}----- end
"""


def readme() -> bytes:
    """The file as it goes into every bundle."""
    return _TEXT.replace("{recipe}", RECIPE.lstrip("\n")).encode()
