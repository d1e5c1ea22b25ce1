/* ---
description: Everything that happened to a contact or to a message, of whatever kind, one line each. Ask it for one contact or one message and order by occurred_at. No addresses, no names.
grain: one thing that happened
key: [source, record, message_id, what, occurred_at]
group: events
owner: team:analysts
materialized: view
columns:
  organisation_id: {type: varchar, description: Whose contact it is.}
  contact_id: {type: varchar, description: "To whom it happened; null for what is told of a message that no plan has."}
  message_id: {type: varchar, description: "The message it is about; null for what is about no single one."}
  send_id: {type: varchar, description: "The send it belongs to; null for what belongs to none."}
  occurred_at: {type: timestamp with time zone, description: "When it happened, by whoever tells it.", tests: [not_null]}
  what: {type: varchar, description: "What: imported, consented, erased, selected, excluded, deferred, planned, an outcome, a kind of event, conversion, or business_event.", tests: [not_null]}
  detail: {type: varchar, description: "In words: channel, rules, verdict with its reasons, codes, amounts.", tests: [not_null]}
  source: {type: varchar, description: The table it is on record in., tests: [not_null, {accepted: [core.contacts, campaign.audiences, campaign.decisions, campaign.messages, core.outcomes, core.events, core.conversions, core.business_events]}]}
  record: {type: varchar, description: "What it is known by in that table.", tests: [not_null]}
--- */

select organisation_id, contact_id, cast(null as varchar) as message_id, cast(null as varchar) as send_id,
       created_at as occurred_at, 'imported' as what, 'first known' as detail, 'core.contacts' as source,
       contact_id as record
from core.contacts
union all
select organisation_id, contact_id, null, null, consent_at, 'consented',
       concat_ws(', ', coalesce(consent_kind, 'implied'), 'from ' || consent_source, 'as the import said'),
       'core.contacts', contact_id
from core.contacts where consent_at is not null
union all
select organisation_id, contact_id, null, null, updated_at, 'erased', 'on request', 'core.contacts', contact_id
from core.contacts where is_erased
union all
select s.organisation_id, a.contact_id, null, a.send_id, a.selected_at, 'selected', 'into the audience',
       'campaign.audiences', concat_ws('/', a.send_id, a.contact_id)
from campaign.audiences a left join campaign.sends s using (send_id)
union all
-- Whoever was let through has a message: that says it.
select s.organisation_id, d.contact_id, m.message_id, d.send_id, d.decided_at, d.decision,
       concat_ws(', ', d.channel, 'until ' || strftime(timezone('UTC', d.not_before), '%Y-%m-%d %H:%M UTC'),
                 'rules ' || nullif(array_to_string(list_transform(d.rules, lambda rule: rule.rule_id), ' '), '')),
       'campaign.decisions', concat_ws('/', d.send_id, d.contact_id, d.channel)
from campaign.decisions d
left join campaign.messages m
    on m.send_id = d.send_id and m.contact_id = d.contact_id and m.channel = d.channel and m.planned_at >= d.decided_at
left join campaign.sends s on s.send_id = d.send_id
where d.decision <> 'allowed'
union all
select s.organisation_id, m.contact_id, m.message_id, m.send_id, m.planned_at, 'planned',
       concat_ws(', ', m.channel, 'by ' || m.lane, 'variant ' || nullif(m.variant, ''),
                 'due ' || strftime(timezone('UTC', m.due_at), '%Y-%m-%d %H:%M UTC')),
       'campaign.messages', m.message_id
from campaign.messages m left join campaign.sends s using (send_id)
union all
select s.organisation_id, m.contact_id, o.message_id, o.send_id, o.recorded_at, o.status,
       concat_ws(', ', o.provider, o.reason, 'code ' || o.code, 'known there as ' || o.provider_message_id),
       'core.outcomes', concat_ws('/', o.message_id, o.outcome_id)
from core.outcomes o
left join campaign.messages m on m.message_id = o.message_id
left join campaign.sends s on s.send_id = o.send_id
union all
select organisation_id, contact_id, message_id, send_id, occurred_at, kind,
       concat_ws(', ', 'told by ' || provider, reason, 'code ' || code,
                 -- What comes behind the path of a link of ours is a credential.
                 regexp_replace(url, '/([upyoct])/[A-Za-z0-9_-]{40,}', '/\1/…'),
                 case when verdict_version is not null or verdict <> 'unknown' then 'by ' || verdict end,
                 'because of ' || nullif(array_to_string(verdict_reasons, ' '), '')),
       'core.events', event_id
from core.events
union all
select organisation_id, contact_id, message_id, send_id, occurred_at, 'conversion',
       concat_ws(', ', type, 'credited to what was ' || touch_kind, cast(value_micros / 1000000 as varchar) || ' ' || currency),
       'core.conversions', concat_ws('/', event_id, message_id)
from core.conversions
union all
select organisation_id, contact_id, null, null, occurred_at, 'business_event',
       concat_ws(', ', type, cast(value_micros / 1000000 as varchar) || ' ' || currency), 'core.business_events',
       event_id
from core.business_events where contact_id is not null
