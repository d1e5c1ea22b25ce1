-- What is asked of a segment's contacts. The compiled query takes the place of {audience}.

-- name: count
select count(*) as contacts from ({audience}) as audience;

-- name: sample
-- The same contacts every time, of no particular kind.
select {columns}
from core.contacts as contact
semi join ({audience}) as audience on contact.contact_id = audience.contact_id
order by hash(contact.contact_id), contact.contact_id
limit $size;

-- name: masked_email
left(contact.email, 1) || '***@' || split_part(contact.email, '@', -1);

-- name: masked_phone
'***' || right(contact.phone, 2);
