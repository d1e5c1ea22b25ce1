-- name: planned_contacts
select contact_id, channel from campaign.messages where send_id = $send_id

-- name: foreign_addresses
-- Addresses of an audience on one channel that are not plain ASCII.
select distinct if($channel = 'email', c.email, c.phone) as address
from campaign.audiences a join core.contacts c using (contact_id)
where a.send_id = $send_id and strlen(address) <> length(address)

-- name: shared_addresses
-- Contacts of an audience whose address another one keeps: whoever is in the plan, else whose consent is on record.
with addressed as (
    select a.contact_id, if($channel = 'email', c.email, c.phone) as given,
           case when p.contact_id is not null then 0 when c.consent_source is not null then 1 else 2 end as precedence
    from campaign.audiences a
    join core.contacts c using (contact_id)
    left join (select distinct contact_id from campaign.messages where send_id = $send_id) p using (contact_id)
    where a.send_id = $send_id
), formed as (
    select contact_id, precedence, coalesce(f.form, lower(trim(given))) as form
    from addressed left join address_forms f on f.address = given
    where given is not null
), sharing as (
    -- Few share: whatever is dear is asked of them alone.
    select * from formed semi join (select form from formed group by form having count(*) > 1) using (form)
), held as (
    select contact_id, first(contact_id order by precedence, contact_id) over (partition by form) as holder
    from sharing
)
select contact_id, holder from held where contact_id <> holder

-- name: eligibility_facts
-- What the rules look at, per contact of the audience that is not planned yet. Who has gone from the contacts since is
-- there without any fact. Recent are the messages of other marketing sends that count against frequency caps.
with planned as (
    select contact_id from campaign.messages where send_id = $send_id
), recent as (
    select m.contact_id,
           list(m.due_at order by m.message_id) filter (where m.channel = 'email') as recent_email,
           list(m.topic order by m.message_id) filter (where m.channel = 'email') as topics_email,
           list(m.due_at order by m.message_id) filter (where m.channel = 'sms') as recent_sms,
           list(m.topic order by m.message_id) filter (where m.channel = 'sms') as topics_sms,
           list(m.due_at order by m.message_id) filter (where m.channel = 'whatsapp') as recent_whatsapp,
           list(m.topic order by m.message_id) filter (where m.channel = 'whatsapp') as topics_whatsapp
    from campaign.messages m
    semi join (select send_id from campaign.sends
               where $is_capped and organisation_id = $organisation and message_class = 'marketing'
                 and send_id <> $send_id) s using (send_id)
    anti join (select message_id from core.outcomes group by message_id
               having arg_max(status, outcome_id) in ('refused', 'cancelled')) o using (message_id)
    where $is_capped and m.due_at > $since::timestamptz
    group by m.contact_id
)
select a.contact_id, c.email, c.phone, c.time_zone, c.country, c.region, c.postcode,
       c.consent_source as imported_source, c.consent_kind as imported_kind, c.consent_at as imported_at,
       try_cast(c.attributes ->> '$.birth_date' as date) as birth_date,
       try_cast(c.attributes ->> '$.is_minor' as boolean) as is_minor,
       try_cast(json_extract_string(c.attributes, $date_off) as date) as date_off,
       json_extract_string(c.attributes, $assigned_by::varchar) as assigned,
       r.recent_email, r.topics_email, r.recent_sms, r.topics_sms, r.recent_whatsapp, r.topics_whatsapp
from campaign.audiences a
anti join planned using (contact_id)
left join core.contacts c using (contact_id)
left join recent r using (contact_id)
where a.send_id = $send_id

-- name: forget_decisions
-- Who is in the plan has been decided: those decisions stay as they were.
delete from campaign.decisions
where send_id = $send_id
  and contact_id not in (select contact_id from campaign.messages where send_id = $send_id)

-- name: plannable
-- The next slice of the audience, by contact: the channels each may be reached on (null: none, or planned already), at
-- which hours, and what the choices hang on.
with slice as materialized (
    select contact_id from campaign.audiences
    where send_id = $send_id and contact_id > $after
    order by contact_id limit $size
), allowed as (
    select d.contact_id, list(d.channel) as channels,
           max(d.hours) filter (where d.channel = 'email') as hours_email,
           max(d.hours) filter (where d.channel = 'sms') as hours_sms,
           max(d.hours) filter (where d.channel = 'whatsapp') as hours_whatsapp
    from campaign.decisions d semi join slice using (contact_id)
    where d.send_id = $send_id and d.decision in ('allowed', 'deferred')
      and not exists (select 1 from campaign.messages m where m.send_id = $send_id and m.contact_id = d.contact_id)
    group by d.contact_id
)
select s.contact_id, a.channels, a.hours_email, a.hours_sms, a.hours_whatsapp, c.language, c.time_zone,
       lower(trim(c.attributes ->> '$.preferred_channel')) as preferred_channel,
       json_extract_string(c.attributes, $assigned_by::varchar) as assigned,
       epoch($now::timestamptz - e.last_engaged_at) / 86400.0 as days_since_engaged,
       (e.human_opens + 2 * e.human_clicks) / nullif(2.0 * e.messages, 0) as engagement_rate
from slice s
left join allowed a using (contact_id)
left join core.contacts c using (contact_id)
left join core.contact_scores e using (contact_id)
order by s.contact_id

-- name: next_generation
-- The number of the next generation of the plan, and when the first was planned.
select coalesce(max(generation) + 1, 0), min(planned_at) from campaign.messages where send_id = $send_id

-- name: channel_affinities
-- How gladly the wanted contacts read each channel, where they got enough messages to tell.
select a.contact_id, a.channel, a.affinity
from core.channel_affinity a semi join wanted_contacts w using (contact_id)
where a.messages >= $enough_messages

-- name: contact_domains
-- Where the wanted contacts are reached.
select contact_id, email_domain, calling_code
from core.contact_domains semi join wanted_contacts using (contact_id)

-- name: contact_hours
-- The hours at which the wanted contacts read. Hours by UTC are moved to the zone of those who have none.
select h.contact_id, ((h.local_hour + if(c.time_zone is null, $shift_hours, 0) + 24) % 24)::tinyint as local_hour,
       h.weight
from core.send_hours h
semi join wanted_contacts w using (contact_id)
join core.contacts c using (contact_id)

-- name: organisation_hours
-- The hours at which contacts of the organisation read: of those whose time zone is known, else of all.
with own as (
    select ((h.local_hour + if(c.time_zone is null, $shift_hours, 0) + 24) % 24)::tinyint as local_hour, h.weight,
           c.time_zone is not null as has_zone
    from core.send_hours h join core.contacts c using (contact_id)
    where c.organisation_id = $organisation
)
select local_hour, sum(weight) as weight from own
where has_zone = (select bool_or(has_zone) from own)
group by local_hour order by local_hour

-- name: generations
select generation, count(*) as messages from campaign.messages where send_id = $send_id
group by generation order by generation

-- name: attribute_kinds
-- Over everybody of the organisation: whoever is in an audience, an attribute is there or not, a number or a text.
-- (One contact for each structure there is: the aggregate keeps kilobytes for every text it sees.)
select json_group_structure(attributes::json)
from (select any_value(attributes) as attributes from core.contacts
      where organisation_id = $organisation and not is_erased
      group by json_structure(attributes::json))

-- name: contact_values
select c.contact_id, c.email, c.phone, c.name, c.language, c.time_zone, c.country, c.region, c.postcode,
       c.external_id, json_transform(c.attributes::json, $structure) as attributes
from core.contacts c join wanted_contacts w using (contact_id)

-- name: funnel
-- The sums every send must keep: audience = messages + excluded; messages = the sum of their states.
with latest as (
    select message_id, arg_max(status, outcome_id) as status
    from core.outcomes where send_id = $send_id group by message_id
)
select
    (select count(*) from campaign.audiences where send_id = $send_id) as audience,
    -- Only who has a recorded exclusion counts: nobody may get lost without a reason.
    (select count(*) from (select contact_id from campaign.decisions where send_id = $send_id
        group by contact_id having bool_and(decision = 'excluded'))) as excluded,
    (select count(*) from campaign.messages where send_id = $send_id) as messages,
    (select count(distinct message_id) from campaign.messages where send_id = $send_id) as distinct_messages,
    count(*) filter (where status = 'accepted') as accepted,
    count(*) filter (where status = 'refused') as refused,
    count(*) filter (where status = 'deferred') as deferred,
    count(*) filter (where status = 'cancelled') as cancelled,
    count(*) filter (where status = 'unknown') as unknown
from latest

-- name: exclusions
-- Windows only defer ($windows are their rules), unless they never open.
select rule_id, evidence_kind, count(distinct contact_id) as contacts
from (
    select d.contact_id, unnest(d.rules).rule_id as rule_id,
           -- Evidence may name another contact; its kind does not.
           regexp_replace(unnest(d.rules).evidence, '[0-9a-f]{32}', '…') as evidence_kind
    from campaign.decisions d
    where d.send_id = $send_id and d.decision = 'excluded'
      -- Whoever is allowed on another channel gets a message: that is no exclusion.
      and not exists (select 1 from campaign.decisions a where a.send_id = $send_id
                      and a.contact_id = d.contact_id and a.decision <> 'excluded')
) r
where not list_contains($windows, rule_id) or evidence_kind like '%never open%'
group by all order by contacts desc, rule_id
