-- Business events, and which message gets the credit. A contact's conversions are always put together anew from all that
-- is known of it, and only what differs is written: late events repair the past, and a rebuild changes nothing.

-- name: known_contacts
-- Which of the ids that told events may mean are contacts' ids.
select contact_id from core.contacts semi join told_ids using (contact_id)

-- name: addresses_of_organisations
select organisation_id, contact_id, email, phone from core.contacts
where organisation_id in (select unnest($organisations)) and not is_erased and (email is not null or phone is not null)

-- name: add_business_events
-- What was told first stands, whatever is told again under its key.
insert into core.business_events by name
select event_id, organisation_id, type, contact_id, occurred_at, received_at, value_micros, currency, properties,
       idempotency_key, source
from told anti join core.business_events using (event_id)
qualify row_number() over (partition by event_id order by received_at, position) = 1

-- name: contacts_of_messages
create or replace temp table contacts_to_attribute as
with buyers as (select distinct contact_id from core.business_events where contact_id is not null)
select contact_id from core.events
semi join buyers using (contact_id) semi join messages_touched using (message_id)
union
-- The click that was credited may be gone.
select contact_id from core.conversions semi join messages_touched using (message_id)

-- name: contacts_told
create or replace temp table contacts_to_attribute as
select distinct contact_id from told where contact_id is not null

-- name: all_contacts
create or replace temp table contacts_to_attribute as
select contact_id from core.business_events where contact_id is not null union select contact_id from core.conversions

-- name: credit
-- The last click or open of a person within its window; only where there is none, the last delivery within its own.
create or replace temp table credited as
with converted as (
    select event_id, organisation_id, contact_id, type, occurred_at, value_micros, currency
    from core.business_events semi join contacts_to_attribute using (contact_id)
    where list_contains($types, type) or (starts_with(type, $custom_prefix) and value_micros is not null)
),
windows (kind, preference, hours) as (
    values ('clicked', 0, $click_hours::integer), ('opened', 0, $open_hours::integer),
           ('delivered', 1, $delivered_hours::integer)
),
touches as (
    select e.message_id, e.send_id, e.contact_id, e.channel, e.kind, e.occurred_at as touched_at, w.preference, w.hours,
           s.organisation_id
    from core.events e
    semi join converted using (contact_id)
    join windows w on w.kind = e.kind and w.hours > 0
    join campaign.sends s on s.send_id = e.send_id
    where e.message_id is not null and (e.verdict = 'human' or e.kind = 'delivered')
),
last_touch as (
    select c.event_id, t.message_id, t.send_id, c.contact_id, c.organisation_id, t.channel, c.type, c.occurred_at,
           t.kind as touch_kind, t.touched_at, c.value_micros, c.currency, t.hours as window_hours
    from converted c
    join touches t on t.contact_id = c.contact_id and t.organisation_id = c.organisation_id
        and t.touched_at <= c.occurred_at and t.touched_at >= c.occurred_at - to_hours(t.hours)
    qualify row_number() over (
        partition by c.event_id order by t.preference, t.touched_at desc, t.kind, t.message_id) = 1
)
select l.event_id, l.message_id, l.send_id, l.contact_id, l.organisation_id, l.channel, m.variant, l.type, l.occurred_at,
       l.touch_kind, l.touched_at, epoch_us(l.occurred_at - l.touched_at) // 1000000 as seconds_since_touch,
       l.value_micros, l.currency, 'last_touch' as model, l.window_hours
from last_touch l left join campaign.messages m on m.send_id = l.send_id and m.message_id = l.message_id

-- name: remove_what_differs
delete from core.conversions
where event_id in (
    select event_id from (
        select event_id, message_id, send_id, contact_id, organisation_id, channel, variant, type, occurred_at,
               touch_kind, touched_at, seconds_since_touch, value_micros, currency, model, window_hours
        from core.conversions semi join contacts_to_attribute using (contact_id)
        except
        select event_id, message_id, send_id, contact_id, organisation_id, channel, variant, type, occurred_at,
               touch_kind, touched_at, seconds_since_touch, value_micros, currency, model, window_hours
        from credited
    )
)

-- name: add_what_lacks
insert into core.conversions by name
select * from credited anti join core.conversions using (event_id)

-- name: by_campaign
-- What messages brought, by campaign and type; each currency on its own line.
select s.campaign_id, c.channel, c.type, c.touch_kind, c.currency, count(*) as conversions,
       count(distinct c.contact_id) as contacts, round(sum(c.value_micros) / 1e6, 2) as value
from core.conversions c join campaign.sends s using (send_id)
where $organisation is null or c.organisation_id = $organisation
group by all
order by conversions desc, s.campaign_id, c.channel, c.type, c.touch_kind, c.currency
