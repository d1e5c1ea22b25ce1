-- Whom a preview is for.

-- name: organisation_of
select organisation_id from core.contacts where contact_id = $contact_id and not is_erased
