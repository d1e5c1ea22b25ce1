-- Makes way for a day's events as they are read anew. `replayed_landings` has the ids of the webhooks. An event may
-- have been told on other days too: all that was told of the same subject is looked at again.

-- name: subjects_before
create or replace temp table subjects as
select distinct provider,
       subject_of(message_id, provider_event_id, provider_message_id, landing_id, position) as subject
from raw.provider_events
where received_at >= $begin and received_at < $end and landing_id in (select landing_id from replayed_landings)

-- name: events_before
create or replace temp table gone as
select event_id_of(provider, subject_of(message_id, provider_event_id, provider_message_id, landing_id, position),
                   raw_kind, occurred_at, received_at, url, code) as event_id
from raw.provider_events
where received_at >= $begin and received_at < $end and landing_id in (select landing_id from replayed_landings)

-- name: remove_events_told
delete from raw.provider_events
where received_at >= $begin and received_at < $end and landing_id in (select landing_id from replayed_landings)

-- name: remove_rejects
delete from raw.event_rejects
where received_at >= $begin and received_at < $end and landing_id in (select landing_id from replayed_landings)

-- name: subjects_after
insert into subjects
select distinct provider,
       subject_of(message_id, provider_event_id, provider_message_id, landing_id, position) as subject
from raw.provider_events where load_id = $load_id

-- name: events_after
insert into gone select event_id from told

-- name: messages_before
create or replace temp table touched as
select distinct message_id from core.events
where event_id in (select event_id from gone) and message_id is not null and match is distinct from 'unmatched'

-- name: remove_events
delete from core.events where event_id in (select event_id from gone)

-- name: messages_after
insert into touched
select distinct message_id from core.events
where load_id = $load_id and match <> 'unmatched' and message_id not in (select message_id from touched)

-- name: forget_models
-- Models look at what was added. Something may have been taken back: they start anew.
delete from raw.model_marks
