# The end of `make demo`: pack the latest run, verify it as an examiner would, then tamper with a copy.
set -eu
bundle=$(workbench bundle latest)
root=$(workbench keys export-root)
echo "bundle: $bundle"
printf '\n$ workbench verify %s --root %s\n' "$bundle" "$root"
code=0; workbench verify "$bundle" --root "$root" || code=$?
[ "$code" -eq 3 ] || { echo "expected VALID WITH LIMITS (3): demonstration keys, local time; got $code"; exit 1; }

# A forger makes a claim greater than what was claimed: same length, so that the archive itself stays whole.
forged=reports/forged.evidence.zip
LC_ALL=C sed 's/four times in five/nine times in ten /g' "$bundle" > "$forged"
cmp -s "$bundle" "$forged" && { echo "the forger found nothing to overwrite"; exit 1; }
printf '\nNow a copy in which "four times in five" was overwritten with "nine times in ten":\n$ workbench verify %s --root ...\n' "$forged"
code=0; workbench verify "$forged" --root "$root" || code=$?
[ "$code" -eq 1 ] || { echo "expected INVALID (1), got $code"; exit 1; }
printf '\nnext:   workbench --help, docs/tutorial-examiner.md\n'
