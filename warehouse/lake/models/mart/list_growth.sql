/* ---
description: How each organisation's list of contacts grows and shrinks. A contact comes once and leaves once.
grain: one organisation and day on which somebody came or left
key: [organisation_id, day]
group: engagement
owner: team:analysts
incremental: organisation_id
freshness_hours: 26
chart: {name: net_growth_over_days, of: sum(net), over: day}
figures:
  new_contacts: sum(new_contacts)
  unsubscribed: sum(unsubscribed)
columns:
  organisation_id: {type: varchar, description: Whose contacts they are., tests: [not_null]}
  day: {type: date, description: UTC date., tests: [not_null]}
  new_contacts: {type: bigint, unit: contacts, description: Contacts that became known., tests: [not_null]}
  unsubscribed: {type: bigint, unit: contacts, description: "Contacts that left by unsubscribing from a message. Choices on the preference page are in the ledger, not here.", tests: [not_null]}
  complained: {type: bigint, unit: contacts, description: Contacts that left by calling a message spam., tests: [not_null]}
  bounced: {type: bigint, unit: contacts, description: Contacts lost because a message came back for good., tests: [not_null]}
  erased: {type: bigint, unit: contacts, description: Contacts that were erased., tests: [not_null]}
  net: {type: bigint, unit: contacts, description: "new_contacts less all who left, each by the first of what made them leave.", tests: [not_null]}
  contacts_total: {type: bigint, unit: contacts, description: Contacts that had come and not left by the end of the day., tests: [not_null]}
checks:
  nobody_leaves_twice: select day from mart.list_growth where contacts_total < 0
--- */

-- name: changed
select organisation_id from core.message_status
where load_id > $after
  and (unsubscribed_at is not null or complained_at is not null or bounced_at is not null)
union
select organisation_id from core.contacts where updated_at > $since

-- name: model
with told as (
    select contact_id,
           min(unsubscribed_at) as unsubscribed_at, min(complained_at) as complained_at,
           -- What a person engaged with afterwards did not come back for good.
           min(bounced_at) filter (status = 'bounced') as bounced_at
    from core.message_status
    where unsubscribed_at is not null or complained_at is not null or bounced_at is not null
    group by contact_id
),
leaving as (
    -- An event cannot be older than the contact: it was imported again, or its list came from elsewhere.
    select c.organisation_id, case when c.is_erased then c.updated_at end as erased_at,
           greatest(c.created_at, least(t.unsubscribed_at, t.complained_at, t.bounced_at, erased_at)) as left_at,
           case least(t.unsubscribed_at, t.complained_at, t.bounced_at, erased_at)
                when t.complained_at then 'complained' when t.unsubscribed_at then 'unsubscribed'
                when t.bounced_at then 'bounced' when erased_at then 'erased' end as why
    from core.contacts c semi join changed using (organisation_id)
    left join told t using (contact_id)
    where t.contact_id is not null or c.is_erased
),
moves as (
    -- Quicker than a cast of the time, which asks for the session's calendar row by row.
    select organisation_id, make_timestamp(epoch_us(created_at))::date as day, 'new' as what, count(*) as contacts
    from core.contacts semi join changed using (organisation_id)
    group by all
    union all
    select organisation_id, make_timestamp(epoch_us(left_at))::date as day, why as what, count(*) as contacts
    from leaving where why is not null group by all
),
counted as (
    select organisation_id, day,
           coalesce(sum(contacts) filter (what = 'new'), 0)::bigint as new_contacts,
           coalesce(sum(contacts) filter (what = 'unsubscribed'), 0)::bigint as unsubscribed,
           coalesce(sum(contacts) filter (what = 'complained'), 0)::bigint as complained,
           coalesce(sum(contacts) filter (what = 'bounced'), 0)::bigint as bounced,
           coalesce(sum(contacts) filter (what = 'erased'), 0)::bigint as erased,
           sum(if(what = 'new', contacts, -contacts))::bigint as net
    from moves group by organisation_id, day
)
select *, sum(net) over (partition by organisation_id order by day)::bigint as contacts_total
from counted
