"""An archive is accounted for to the last byte: what other programs could read in two ways is refused."""

import io
import os
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
import zlib

import hypothesis
import pytest
from hypothesis import strategies as st

from workbench.evidence import archive
from workbench.evidence.archive import ArchiveError, NameProblemError, is_safe_name, read_archive, write_archive

FILES = {
    "payload/report.html": b"<h1>Report</h1>",
    "payload/data/table.csv": b"a,b\n1,2\n",
    "empty": b"",
    "payload/inner.zip": b"PK\x03\x04PK\x01\x02PK\x05\x06" + bytes(18),
}
GOOD = write_archive(FILES)
SMALL = write_archive({"a.txt": b"hello", "b/c.bin": b"\0\xff"})
HEADER = "the header of the entry 'a.txt' is not of the only form that is accepted"


def made(*entries: tuple[str, bytes], **attributes) -> bytes:
    """An archive as Python's zipfile writes it, stored, with our date, mode and system unless told otherwise."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as writing:
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            for attribute, value in attributes.items():
                setattr(info, attribute, value)
            writing.writestr(info, content)
    return buffer.getvalue()


def packed(*entries: tuple[bytes, bytes]) -> bytes:
    """An archive in our form with any names at all, twice if need be, bytes by hand."""
    body, table = b"", b""
    for name, content in entries:
        common = struct.pack(
            "<HHHHHLLLHH", 20, 0, 0, 0, 33, zlib.crc32(content), len(content), len(content), len(name), 0
        )
        table += b"PK\x01\x02" + struct.pack("<H", 3 << 8 | 20) + common
        table += struct.pack("<HHHLL", 0, 0, 0, 0o100644 << 16, len(body)) + name
        body += b"PK\x03\x04" + common + name + content
    end = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, len(entries), len(entries), len(table), len(body), 0)
    return body + table + end


def refusal(data: bytes, kind: type[ArchiveError] = ArchiveError) -> str:
    with pytest.raises(ArchiveError) as caught:
        read_archive(data)
    assert type(caught.value) is kind
    return str(caught.value)


def test_what_is_written_is_read_in_the_same_order():
    files, damaged = read_archive(GOOD)
    assert (list(files.items()), damaged) == (list(FILES.items()), [])


def test_an_archive_has_exactly_the_bytes_of_the_format():
    assert write_archive(FILES) == packed(*((name.encode(), content) for name, content in FILES.items()))


def test_equal_files_make_equal_archives_in_another_process_too(tmp_path):
    code = "import sys; from workbench.evidence.archive import write_archive as w; sys.stdout.buffer.write(w({'a.txt': b'hello', 'b/c.bin': bytes([0, 255])}))"
    for seed, zone in (("0", "UTC"), ("1", "Asia/Tokyo")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone}
        again = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment)
        assert again.stdout == SMALL
    assert write_archive(dict(reversed(FILES.items()))) != GOOD


def test_pythons_zipfile_reads_what_we_write():
    with zipfile.ZipFile(io.BytesIO(GOOD)) as reading:
        assert reading.testzip() is None
        assert {info.filename: reading.read(info) for info in reading.infolist()} == FILES
        for info in reading.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert stat.S_ISREG(info.external_attr >> 16)
            assert (info.external_attr >> 16 & 0o777, info.compress_type, info.flag_bits) == (0o644, 0, 0)
            assert (info.extra, info.comment, info.create_system) == (b"", b"", 3)


def test_what_pythons_zipfile_writes_in_our_form_is_read():
    files, damaged = read_archive(made(*FILES.items()))
    assert (files, damaged) == (FILES, [])
    assert made(*FILES.items()) == GOOD


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_unzip_finds_no_errors_in_what_we_write_and_unpacks_it(tmp_path):
    path = tmp_path / "evidence.zip"
    path.write_bytes(GOOD)
    tested = subprocess.run(["unzip", "-t", path], capture_output=True, text=True, check=True)
    assert "No errors detected" in tested.stdout
    assert tested.stderr == ""
    subprocess.run(["unzip", "-q", path, "-d", tmp_path / "out"], capture_output=True, check=True)
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FILES} == FILES


UNSAFE = [
    "..", "../a", "a/../b", "a/..", "/a", "//a", "/", "a//b", "a/", "./a", "a/.", ".a", "a/.b", "a.", "a./b", "",
    "a\\b", "..\\a", "C:/a", "C:a", "a:b", "a\0b", "a\nb", "a\x1bb", "a\x7f", " a", "a ", "a b", "~/a", "-a", "_a", "a~1",
    "a*", "a?", 'a"', "a<", "a|b", "a%2e", "a$b", "CON", "con", "nul.txt", "payload/AUX.csv", "lpt1", "COM9.tar.gz", "prn/a",
    "a" * 129, "a/" * 127 + "ab", "é", "e\u0301", "report\u202elmth.exe", "a\u200bb", "\ufeffa", "ａ", "a\u2044b", "а",
]  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE)
def test_a_name_that_could_mean_something_else_is_refused_in_reading_and_writing(name):
    assert not is_safe_name(name)
    assert refusal(packed((name.encode(), b"x")), NameProblemError) == f"an entry has the name {name[:80]!a}"
    assert refusal(packed((b"a.txt", b""), (name.encode(), b"x")), NameProblemError).startswith("an entry has the name")
    with pytest.raises(NameProblemError) as caught:
        write_archive({"fine": b"", name: b"x"})
    assert str(caught.value) == f"an entry has the name {name[:80]!a}"


@pytest.mark.parametrize("raw", [b"caf\x82.txt", b"\xff\xfe", b"a\xc3", b"\xed\xa0\x80"])
def test_a_name_in_another_encoding_is_refused(raw):
    assert refusal(packed((raw, b"x")), NameProblemError).startswith("an entry has the name")


@pytest.mark.parametrize(
    "name",
    ["a", "A.b", "0", "a_b-c+d=e.f", "a/b/c.d", "a..b", "a" * 128, "console.txt", "com", "com10", "nulls", "aux-1"],
)
def test_ordinary_names_are_written_and_read(name):
    assert is_safe_name(name)
    assert read_archive(write_archive({name: b"x"})) == ({name: b"x"}, [])


@pytest.mark.parametrize(("one", "other"), [("a.txt", "A.txt"), ("Data/x", "data/x"), ("a/b", "a/B")])
def test_names_that_differ_only_in_case_are_refused(one, other):
    sentence = f"the entries {one!r} and {other!r} differ only in upper and lower case"
    assert refusal(packed((one.encode(), b"1"), (other.encode(), b"2")), NameProblemError) == sentence
    with pytest.raises(NameProblemError, match="differ only in upper and lower case"):
        write_archive({one: b"1", other: b"2"})


@pytest.mark.parametrize(("file", "inside"), [("a", "a/b"), ("a/b", "a/b/c/d"), ("A", "a/b"), ("a", "A/b")])
def test_a_file_where_a_folder_must_be_is_refused(file, inside):
    sentence = f"the entry {file!r} stands where the folder of {inside!r} must be"
    for names in ((file, inside), (inside, file)):
        assert refusal(packed(*((name.encode(), b"") for name in names)), NameProblemError) == sentence
        with pytest.raises(NameProblemError) as caught:
            write_archive(dict.fromkeys(names, b""))
        assert str(caught.value) == sentence


def test_a_name_twice_is_refused():
    assert refusal(packed((b"a.txt", b"1"), (b"a.txt", b"2"))) == "it holds the entry 'a.txt' twice"
    assert refusal(packed((b"a.txt", b"1"), (b"a.txt", b"1"))) == "it holds the entry 'a.txt' twice"


def test_a_folder_entry_is_refused():
    assert refusal(packed((b"a/", b"")), NameProblemError) == "an entry has the name 'a/'"


def test_a_symbolic_link_is_refused():
    link = made(("a.txt", b"/etc/passwd"), external_attr=0o120777 << 16)
    assert refusal(link) == "the entry 'a.txt' is a symbolic link"


@pytest.mark.parametrize("mode", [0o100755, 0o104755, 0o100600, 0o040755, 0o020666, 0o010644, 0o060644, 0])
def test_other_kinds_of_files_and_permissions_are_refused(mode):
    assert (
        refusal(made(("a.txt", b"x"), external_attr=mode << 16))
        == "its table of contents does not agree with its entries"
    )


def test_bytes_before_the_first_entry_are_refused():
    for before in (b"\0", b"MZ", b"#!/bin/sh\n", b"<html>", bytes(50_000)):
        assert refusal(before + SMALL) == "there are bytes before its first entry"


def test_an_archive_made_of_two_is_refused():
    assert refusal(SMALL + GOOD) == "bytes follow its end"


def test_bytes_after_the_end_are_refused():
    for after in (b"\0", b"\n", b"PK\x05\x06", bytes(100_000)):
        assert refusal(SMALL + after) == "bytes follow its end"


def test_bytes_between_entries_and_their_list_are_refused():
    table = SMALL.index(b"PK\x01\x02")
    assert refusal(SMALL[:table] + b"hidden" + SMALL[table:]) == "bytes lie between its entries and their list"


def test_a_comment_is_refused():
    buffer = io.BytesIO(SMALL)
    with zipfile.ZipFile(buffer, "a") as appending:
        appending.comment = b"hello"
    assert refusal(buffer.getvalue()) == "bytes follow its end"
    assert refusal(made(("a.txt", b"x"), comment=b"note")).startswith("its table of contents ")


def test_an_extra_field_is_refused():
    assert refusal(made(("a.txt", b"x"), extra=struct.pack("<HHL", 0x5455, 4, 0))) == HEADER


def test_zip64_is_refused():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as writing, writing.open("a.txt", "w", force_zip64=True) as entry:
        entry.write(b"x")
    assert refusal(buffer.getvalue()) == HEADER


def test_an_encrypted_entry_is_refused():
    place = SMALL.index(b"PK\x03\x04") + 6
    assert refusal(SMALL[:place] + b"\x01" + SMALL[place + 1 :]) == "the entry 'a.txt' is encrypted"


@pytest.mark.skipif(shutil.which("zip") is None, reason="zip is not installed")
def test_what_zip_encrypts_is_refused(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"hello")
    subprocess.run(
        ["zip", "-X", "-q", "-0", "-P", "pw", "a.zip", "a.txt"], cwd=tmp_path, check=True, capture_output=True
    )
    assert refusal((tmp_path / "a.zip").read_bytes()) == "the entry 'a.txt' is encrypted"


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compressed_entry_is_refused(method):
    assert "is compressed, and bundles store files as they are" in refusal(
        made(("a.txt", b"x" * 99), compress_type=method)
    )


def test_a_bomb_is_refused_before_it_unfolds():
    bomb = made(*((f"b{number}", bytes(2**20)) for number in range(20)), compress_type=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 30_000
    assert refusal(bomb) == "the entry 'b0' is compressed, and bundles store files as they are"


def test_a_size_that_is_claimed_but_not_there_costs_nothing():
    claimed = bytearray(SMALL)
    claimed[18:26] = struct.pack("<LL", 2**32 - 1, 2**32 - 1)
    assert refusal(bytes(claimed)) == "it is cut off in the entry 'a.txt'"


def test_overlapping_entries_are_refused():
    """The quoted overlap of a bomb without recursion: the table points at one body twice."""
    first = SMALL.index(b"PK\x01\x02")
    row = SMALL[first : first + 46 + 5]
    twice = SMALL[:first] + row + row + SMALL[SMALL.index(b"PK\x05\x06") :]
    assert refusal(twice) == "its table of contents lists entries that are not there, or under other names"


def test_entries_that_are_in_only_one_of_both_places_are_refused():
    first, second = SMALL.index(b"PK\x01\x02"), SMALL.index(b"PK\x01\x02", SMALL.index(b"PK\x01\x02") + 1)
    end = SMALL.index(b"PK\x05\x06")
    unlisted = SMALL[:second] + SMALL[end:]
    listed_more = SMALL[:end] + SMALL[first:second] + SMALL[end:]
    assert refusal(unlisted) == "it is cut off in its table of contents"
    assert refusal(listed_more) == "its table of contents lists entries that are not there, or under other names"
    no_table = SMALL[:first] + SMALL[end:]
    assert refusal(no_table) == "bytes lie between its entries and their list"


def test_a_table_of_contents_that_points_elsewhere_or_names_otherwise_is_refused():
    first = SMALL.index(b"PK\x01\x02")
    disagrees = "its table of contents does not agree with its entries"
    for place, value in [
        (first + 42, struct.pack("<L", 7)),  # where the entry lies
        (first + 16, struct.pack("<L", 0)),  # checksum
        (first + 20, struct.pack("<LL", 4, 4)),  # sizes
        (first + 8, struct.pack("<H", 1)),  # flags
        (first + 10, struct.pack("<H", 8)),  # method
        (first + 34, struct.pack("<H", 1)),  # disk
        (first + 46, b"b.txt"),  # name
        (first + 12, struct.pack("<HH", 1, 1)),  # time and date
    ]:
        assert refusal(SMALL[:place] + value + SMALL[place + len(value) :]) == disagrees


def test_no_beginning_of_an_archive_is_an_archive():
    for length in range(len(GOOD)):
        with pytest.raises(ArchiveError) as caught:
            read_archive(GOOD[:length])
        assert str(caught.value)


def test_no_end_of_an_archive_is_an_archive():
    for start in range(1, len(GOOD)):
        with pytest.raises(ArchiveError):
            read_archive(GOOD[start:])


def test_no_flipped_bit_goes_unnoticed():
    for place in range(len(GOOD)):
        for bit in range(8):
            changed = GOOD[:place] + bytes([GOOD[place] ^ 1 << bit]) + GOOD[place + 1 :]
            try:
                files, damaged = read_archive(changed)
            except ArchiveError:
                continue
            assert list(files) == list(FILES)
            assert damaged == [name for name in FILES if files[name] != FILES[name]] != []


def test_no_dropped_or_doubled_byte_goes_unnoticed():
    for place in range(len(SMALL)):
        for changed in (
            SMALL[:place] + SMALL[place + 1 :],
            SMALL[:place] + SMALL[place : place + 1] + SMALL[place:],
            SMALL[:place] + b"\0" + SMALL[place:],
        ):
            with pytest.raises(ArchiveError):
                read_archive(changed)


def test_damaged_contents_are_named_so_that_a_verifier_can_say_which_file():
    damaged = GOOD.replace(b"Report", b"Retort").replace(b"1,2", b"1,3")
    files, named = read_archive(damaged)
    assert named == ["payload/report.html", "payload/data/table.csv"]
    assert files["payload/report.html"] == b"<h1>Retort</h1>"


def test_ten_thousand_entries_are_the_most():
    most = {f"f{number}": b"" for number in range(10_000)}
    assert len(read_archive(write_archive(most))[0]) == 10_000
    sentence = "it holds more than 10000 entries"
    with pytest.raises(ArchiveError, match=f"^{sentence}$"):
        write_archive({**most, "one-more": b""})
    assert refusal(packed(*((name.encode(), b"") for name in [*most, "one-more"]))) == sentence


def test_an_archive_of_nothing_is_neither_written_nor_read():
    with pytest.raises(ArchiveError, match=r"^there are no files to put into an archive$"):
        write_archive({})
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    assert refusal(buffer.getvalue()) == "it holds no files"


@pytest.mark.parametrize("data", [b"", b"P", b"PK", b"PK\x03", b"\x1f\x8b", b"Rar!\x1a\x07", b"<html></html>"])
def test_what_is_no_archive_is_told_as_such(data):
    assert refusal(data) == "it is not a ZIP file, or its beginning is missing"


def test_an_archive_that_could_not_be_read_back_is_not_written(monkeypatch):
    files = {"a" * 128: b"x" * 100, "b" * 128: b"y" * 100}
    size = len(write_archive(files))
    monkeypatch.setattr(archive, "LARGEST_ARCHIVE", size)
    assert read_archive(write_archive(files)) == (files, [])
    monkeypatch.setattr(archive, "LARGEST_ARCHIVE", size - 1)
    with pytest.raises(ArchiveError, match="do not fit into one archive"):
        write_archive(files)


def test_a_file_beyond_the_limit_is_not_even_looked_at(monkeypatch):
    monkeypatch.setattr(archive, "LARGEST_ARCHIVE", len(SMALL) - 1)
    assert refusal(SMALL) == "it is larger than 0 MiB"


segments = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,10}", fullmatch=True).filter(is_safe_name)
names = st.lists(segments, min_size=1, max_size=3).map("/".join)


@hypothesis.given(st.dictionaries(names, st.binary(max_size=50), min_size=1, max_size=8))
def test_any_files_are_read_as_they_were_written_or_not_written(files):
    try:
        data = write_archive(files)
    except NameProblemError:
        return
    found, damaged = read_archive(data)
    assert (list(found.items()), damaged) == (list(files.items()), [])
    with zipfile.ZipFile(io.BytesIO(data)) as reading:
        assert {name: reading.read(name) for name in reading.namelist()} == files
