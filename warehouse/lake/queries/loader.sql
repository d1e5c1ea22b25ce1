-- name: watermark
select xact, last_id from raw.watermarks where feed = $feed

-- name: unknown_kinds
-- Events of the newest loads whose kind no table knows. Kinds are the provider's words, addresses blotted out.
select provider, raw_kind, count(*) as events
from raw.provider_events
where load_id >= $first_load and kind = 'unknown'
group by all order by events desc, provider, raw_kind limit $most

-- name: newest_model_mark
-- Models that wait for no event may run before a load of the same run, and lag behind it for good reason.
select max(after) from raw.model_marks
