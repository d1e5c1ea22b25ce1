-- One contact by what somebody knows of it. $organisation null: of any. Addresses are read to find it; who shows none
-- must not hand them on.

-- name: by_id
select * from core.contacts where contact_id = $value

-- name: by_external_id
select * from core.contacts where external_id = $value and organisation_id = $organisation order by contact_id

-- name: by_email
-- Candidates: which spellings are one mailbox is told by the caller, for letters beyond ASCII.
select * from core.contacts
where (lower(email) = lower($value) or strlen(email) <> length(email))
  and ($organisation is null or organisation_id = $organisation)
order by contact_id

-- name: by_phone
select * from core.contacts
where phone = $value and ($organisation is null or organisation_id = $organisation)
order by contact_id

-- name: owner_of
-- Whose contact an id was that is none any more.
select n.organisation_id from campaign.audiences a join campaign.sends n using (send_id)
where a.contact_id = $contact_id
limit 1
