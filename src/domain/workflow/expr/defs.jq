# Definitions of jq 1.7 that jaq does not have.
def debug: .;
def debug(msgs): .;
def toarray: if isarray then . else [.] end;
def trimstr($x): ltrimstr($x) | rtrimstr($x);
def IN(s): . as $x | any(s; . == $x);
def IN(src; s): any(src; IN(s));
def INDEX(stream; f): reduce stream as $row ({}; . + {($row | f | tostring): $row});
def INDEX(f): INDEX(.[]; f);
def leaf_paths: paths(scalars);
def ascii: [.] | implode;
def have_literal_numbers: true;
def have_decnum: false;
def truncate_stream(stream): . as $n | null | stream | . as $input | if (.[0] | length) > $n then [$input[0][$n:]] + $input[1:] else empty end;
def tostream: def inner($p): if (. >= [] and length > 0) then (. as $all | (keys_unsorted as $k | $k[] as $i | $all[$i] | inner($p + [$i])), [$p + [keys_unsorted[-1]]]) else [$p, .] end; inner([]);
def fromstream(f): {x: null, e: false} as $init | foreach f as $i ($init; (if .e then $init else . end) | if ($i | length) == 2 then {x: (.x | setpath($i[0]; $i[1])), e: (($i[0] | length) == 0)} else {x: .x, e: (($i[0] | length) == 1)} end; if .e then .x else empty end);
def @csv: [.[] | if isnumber or isboolean then tostring elif . == null then "" else "\"" + (tostring | split("\"") | join("\"\"")) + "\"" end] | join(",");
def @tsv: [.[] | if . == null then "" else tostring | split("\\") | join("\\\\") | split("\t") | join("\\t") | split("\n") | join("\\n") | split("\r") | join("\\r") end] | join("\t");
