-- Parts of the queries that find an audience. $organisation is the organisation's id.

-- name: everyone
-- Contact ids of the organisation. Conditions are appended with `and`.
select distinct contact_id
from core.contacts
where organisation_id = $organisation and not is_erased;

-- name: own_contacts
select * from core.contacts where organisation_id = $organisation and not is_erased;

-- name: own_events
-- Events and engagement carry no organisation to rely on; their contact does.
select * from core.events where contact_id in (select contact_id from own_contacts);

-- name: own_engagement
select * from core.engagement where contact_id in (select contact_id from own_contacts);

-- name: within_fence
-- The semi join keeps ids that are made up, or of another organisation, out.
select distinct own_contacts.contact_id
from own_contacts
semi join selected on own_contacts.contact_id = selected.contact_id::varchar;
