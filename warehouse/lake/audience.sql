-- Parts of the queries that find an audience. $organisation is the organisation's id.

-- name: everyone
-- Contact ids of the organisation, each once: it is the table's key. Conditions are appended with `and`.
select contact_id
from core.contacts
where organisation_id = $organisation and not is_erased;

-- name: among
-- Who is in one set of ids already and not erased since. Further conditions on ids are appended with `and`.
select contact_id
from ({members}) as members
where contact_id not in (select contact_id from core.contacts where organisation_id = $organisation and is_erased);

-- name: message_events
-- One row per message that made this step. Conditions are appended with `and`.
select contact_id
from core.message_status
where organisation_id = $organisation and contact_id is not null and {moment} is not null;

-- name: each_once
select distinct contact_id from ({members}) as done;

-- name: business_events
select contact_id
from core.business_events
where organisation_id = $organisation and contact_id is not null and type = {type};

-- name: credited_events
-- Business events credited to a message, by what is known of the message.
select contact_id
from core.conversions
where organisation_id = $organisation and type = {type};

-- name: of_campaign
send_id in (select send_id from campaign.sends where organisation_id = $organisation and campaign_id = {value});

-- name: of_topic
-- All messages of a send have one topic; the oldest rows, which have none, are of the general one.
send_id in (select send_id from campaign.messages where coalesce(topic, 'general') = {value});

-- name: of_channel
channel = {value};

-- name: scores
-- One row per contact, and none of an erased one: erasing deletes it. Conditions are appended with `and`.
select contact_id
from core.contact_scores
where organisation_id = $organisation;

-- name: contacts_like
-- To be met by ids whose organisation is known already.
select contact_id from core.contacts where {conditions};

-- name: may_hold
-- The word is looked for first as it stands, which it does wherever JSON has no backslash: reading the JSON of every
-- contact takes many times as long.
(contains(attributes, {value}) or contains(attributes, '\'));

-- name: on_list
{may_hold} and case
    when json_type(attributes, '$.tags') = 'ARRAY'
    then list_contains(json_extract_string(attributes, '$.tags[*]'), {name})
    else list_contains(list_transform(string_split(attributes ->> '$.tags', ','), lambda tag: trim(tag)), {name})
end;

-- name: own_contacts
select * from core.contacts where organisation_id = $organisation and not is_erased;

-- name: own_events
-- Whose a row is says its contact; not every row says it itself.
select * from core.events where contact_id in (select contact_id from own_contacts);

-- name: own_message_status
select * from core.message_status where contact_id in (select contact_id from own_contacts);

-- name: own_conversions
select * from core.conversions where contact_id in (select contact_id from own_contacts);

-- name: own_business_events
select * from core.business_events where contact_id in (select contact_id from own_contacts);

-- name: own_contact_scores
select * from core.contact_scores where contact_id in (select contact_id from own_contacts);

-- name: within_fence
-- The semi join keeps ids that are made up, or of another organisation, out.
select distinct own_contacts.contact_id
from own_contacts
semi join selected on own_contacts.contact_id = selected.contact_id::varchar;
