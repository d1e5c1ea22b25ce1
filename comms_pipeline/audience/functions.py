"""What SQL audiences may call: an allow-list, so that a function DuckDB gains tomorrow is refused until read.

Missing on purpose: whatever reads files, settings or the catalog; what differs from run to run (`random`,
`uuid`), for planning again must find the same contacts; what makes much of little (`repeat`, `range`).
"""

_OPERATORS = "+ - * / // % ** ^ || & | ~ << >> @ ^@ ->> @> <@ && ~~ !~~ ~~* !~~* ~~~"
OPERATORS = frozenset(_OPERATORS.split())

_TEXT = """
    ascii chr concat concat_ws contains ends_with format_bytes ilike_escape instr lcase left length len
    levenshtein damerau_levenshtein jaccard jaro_similarity jaro_winkler_similarity like_escape lower ltrim
    md5 nfc_normalize not_ilike_escape not_like_escape position prefix regexp_escape regexp_extract
    regexp_extract_all regexp_full_match regexp_matches regexp_replace regexp_split_to_array replace reverse
    right rtrim sha256 split split_part starts_with str_split str_split_regex string_split
    string_split_regex string_to_array strip_accents strlen strpos substr substring suffix translate trim
    ucase unicode upper url_decode url_encode
"""
_NUMBERS = """
    abs acos asin atan atan2 cbrt ceil ceiling cos cot degrees even exp fdiv floor fmod gcd greatest hash
    isfinite isinf isnan lcm least ln log log10 log2 mod pi pow power radians round round_even sign sin sqrt
    tan trunc xor add subtract multiply divide
"""
_TIMES = """
    age ago century current_date current_localtime current_localtimestamp date_add date_diff date_part
    date_sub date_trunc datediff datepart datesub datetrunc day dayname dayofmonth dayofweek dayofyear
    decade epoch epoch_ms epoch_us get_current_time get_current_timestamp hour isodow isoyear last_day
    make_date make_time make_timestamp make_timestamptz minute month monthname now quarter second strftime
    strptime time_bucket timezone to_centuries to_days to_decades to_hours to_microseconds to_milliseconds
    to_minutes to_months to_quarters to_seconds to_timestamp to_weeks to_years today transaction_timestamp
    try_strptime week weekday weekofyear year yearweek
"""
_CONDITIONS = "constant_or_null nullif typeof"
_AGGREGATES = """
    any_value approx_count_distinct approx_quantile arbitrary arg_max arg_min argmax argmin array_agg avg
    bit_and bit_or bool_and bool_or count count_if count_star countif first first_value group_concat
    histogram kurtosis lag last last_value lead list listagg mad max max_by mean median min min_by mode
    nth_value ntile percent_rank quantile quantile_cont quantile_disc rank rank_dense dense_rank row_number
    cume_dist skewness stddev stddev_pop stddev_samp string_agg sum var_pop var_samp variance
"""
_LISTS = """
    array_contains array_extract array_has array_has_all array_has_any array_length array_position
    array_slice array_value element_at filter flatten list_any_value list_apply list_avg list_bool_and
    list_bool_or list_concat list_contains list_count list_distinct list_element list_extract list_filter
    list_first list_has list_has_all list_has_any list_intersect list_last list_max list_min list_position
    list_select list_slice list_sort list_sum list_transform list_unique list_value map map_contains
    map_entries map_extract map_extract_value map_keys map_values row struct_extract struct_extract_at
    struct_pack unnest
"""
_JSON = """
    json json_array json_array_length json_contains json_exists json_extract json_extract_path
    json_extract_path_text json_extract_string json_keys json_object json_type json_valid json_value to_json
    from_json json_transform
"""

FUNCTIONS = frozenset(f"{_TEXT} {_NUMBERS} {_TIMES} {_CONDITIONS} {_AGGREGATES} {_LISTS} {_JSON}".split())
