-- From events as they were told to events that happened, in steps over temporary tables of one transaction:
-- told (every telling in question), fresh (told for the first time), placed (with its message), core.events.

-- name: macros
-- Whom or what an event is about. Where no message of ours is named, the provider's own id of the event must do: one
-- request's id stands for many messages.
create or replace temp macro subject_of(message_id, provider_event_id, provider_message_id, landing_id, place) as
    coalesce(message_id, provider_event_id, provider_message_id, concat(landing_id, ':', place));
-- A provider may tell an event again under a new id, so what happened is a key: message, kind, time, link, code.
-- Callbacks that carry no time of their own (Twilio's) happen once per message, kind and code.
create or replace temp macro event_id_of(provider, subject, raw_kind, occurred_at, received_at, url, code) as
    md5(concat_ws('|', provider, subject, raw_kind,
                  case when occurred_at = received_at then '' else epoch_us(occurred_at)::varchar end,
                  coalesce(url, ''), coalesce(code, '')));
-- The other key is the provider's own id of the event. Ours names the message where there is none of the event.
create or replace temp macro told_id_of(provider, provider_event_id) as
    case when provider <> 'comms' then provider_event_id end

-- name: tell
-- `which`: the tellings in question.
create or replace temp table told as
select event_id_of(provider, subject_of(message_id, provider_event_id, provider_message_id, landing_id, position),
                   raw_kind, occurred_at, received_at, url, code) as event_id,
       told_id_of(provider, provider_event_id) as told_id, row_number() over () as telling,
       * exclude (payload, provider_event_id, load_id)
from raw.provider_events r
where {which}

-- name: of_subjects
(provider, subject_of(message_id, provider_event_id, provider_message_id, landing_id, position))
    in (select (provider, subject) from subjects)

-- name: choose_fresh
-- Under one id of the provider's the first telling counts, and of what happened the first telling that is left. What
-- is known from before, by either key, is no news. Whole rows are taken only in the end, and of what is known only keys
-- are read: what happened is looked up among what happened at that time, and by its id only what is not found there.
create or replace temp table fresh as
with first_of_id as (
    select arg_min(telling, (received_at, landing_id, position)) as telling
    from told group by provider, coalesce(told_id, event_id), message_id, raw_kind
), first_of_event as (
    select event_id, arg_min(telling, (received_at, landing_id, position)) as telling
    from told semi join first_of_id using (telling) group by event_id
), known_events as (
    select event_id from core.events
    semi join (select event_id, occurred_at from told where occurred_at <> received_at) using (event_id, occurred_at)
    union all
    select event_id from core.events
    semi join (select event_id, provider from told where occurred_at = received_at) using (event_id, provider)
), left_over as materialized (
    select telling, provider, told_id, message_id, raw_kind
    from told semi join (from first_of_event anti join known_events using (event_id)) using (telling)
), ids_again as materialized (
    select distinct provider_event_id from raw.provider_events
    where provider_event_id in (select told_id from left_over) and (load_id <= $after or load_id is null)
      and $after >= 0
), known_ids as (
    select provider, told_id_of(provider, provider_event_id) as told_id, message_id, raw_kind from raw.provider_events
    where provider_event_id in (from ids_again) and told_id is not null and (load_id <= $after or load_id is null)
), news as (
    select telling from left_over f
    anti join known_ids k on k.provider = f.provider and k.told_id = f.told_id and k.raw_kind = f.raw_kind
                          and k.message_id is not distinct from f.message_id
)
select * exclude (telling), false as is_known from told semi join news using (telling)

-- name: try_again
-- Events without a message that outcomes may have come for since.
insert into fresh by name
select event_id, message_id, organisation_id, provider, provider_message_id, kind, occurred_at, received_at, reason,
       code, url, user_agent, ip_key, is_head, is_prefetch, coalesce(is_told_machine, false) as is_machine,
       true as is_known
from core.events
where match = 'unmatched' and (
    provider_message_id in (select provider_message_id from core.outcomes where {which})
    or message_id in (select message_id from core.outcomes where {which}))

-- name: find_by_message_id
create or replace temp table ours as
select message_id, send_id, contact_id, channel from campaign.messages semi join fresh using (message_id)

-- name: find_by_provider_id
-- The provider's id of a request stands for all its messages; only where it is one message's does it tell which.
create or replace temp table found as
with lost as (
    select distinct provider, provider_message_id from fresh anti join ours using (message_id)
    where provider_message_id is not null
)
select provider, provider_message_id, min(message_id) as message_id
from core.outcomes semi join lost using (provider, provider_message_id)
group by provider, provider_message_id having count(distinct message_id) = 1

-- name: add_found
insert into ours
select message_id, send_id, contact_id, channel from campaign.messages semi join found using (message_id)
where message_id not in (select message_id from ours)

-- name: place
create or replace temp table placed as
select f.event_id, coalesce(m.message_id, f.message_id) as message_id, m.send_id, m.contact_id, m.channel,
       coalesce(f.organisation_id, n.organisation_id) as organisation_id, f.provider, f.kind, f.occurred_at,
       f.received_at, f.reason, f.code, f.url,
       case when f.kind in ('opened', 'clicked') and f.is_machine then 'machine'
            when f.kind in ('opened', 'clicked') then 'human'
            else 'unknown' end as verdict,
       null::double as verdict_score, null::varchar[] as verdict_reasons, null::integer as verdict_version,
       f.user_agent, f.ip_key, f.is_head, f.is_prefetch, f.is_machine as is_told_machine,
       case when m.message_id is null then 'unmatched' when o.message_id is null then 'provider_id'
            else 'message_id' end as match,
       $load_id as load_id, f.provider_message_id, f.is_known
from fresh f
left join ours o on o.message_id = f.message_id
left join found g on o.message_id is null and g.provider = f.provider
                  and g.provider_message_id = f.provider_message_id
left join ours m on m.message_id = coalesce(o.message_id, g.message_id)
left join campaign.sends n on n.send_id = m.send_id

-- name: leave_unmatched
delete from placed where is_known and match = 'unmatched'

-- name: count_placed
select count(*) filter (not is_known) as added, count(*) filter (is_known) as mended from placed

-- name: messages_placed
create or replace temp table placed_messages as
select distinct message_id from placed where message_id is not null

-- name: remove_mended
delete from core.events where event_id in (select event_id from placed where is_known)

-- name: add_events
insert into core.events by name select * exclude (is_known) from placed

-- name: drop_steps
drop table if exists told; drop table if exists fresh; drop table if exists ours; drop table if exists found;
drop table if exists placed; drop table if exists placed_messages
