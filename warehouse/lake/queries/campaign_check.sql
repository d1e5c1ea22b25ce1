-- name: audience_of_send
select contact_id from campaign.audiences where send_id = $send_id

-- name: reachable
-- A few of the wanted contacts that have an address on a channel: always the same ones, and no particular ones.
select c.contact_id
from core.contacts c semi join wanted_contacts using (contact_id)
where if($channel = 'email', c.email, c.phone) is not null and not c.is_erased
order by hash(c.contact_id), c.contact_id
limit $size
