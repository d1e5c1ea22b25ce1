-- name: new_or_changed
-- Imported contacts that are new, or differ from what is there; the erased stay erased.
select i.contact_id, i.organisation_id, i.external_id, i.email, i.phone, i.name, i.language, i.time_zone,
       i.country, i.region, i.postcode, i.attributes,
       -- An import that knows of no consent does not take away the one on record.
       coalesce(i.consent_source, c.consent_source) as consent_source,
       coalesce(i.consent_kind, c.consent_kind) as consent_kind,
       coalesce(i.consent_at, c.consent_at) as consent_at,
       false as is_erased,
       coalesce(c.created_at, $now) as created_at,
       $now as updated_at
from imported i
left join core.contacts c using (contact_id)
where c.contact_id is null
   or (not c.is_erased
       and (i.organisation_id, i.external_id, i.email, i.phone, i.name, i.language, i.time_zone, i.country,
            i.region, i.postcode, i.attributes, coalesce(i.consent_source, c.consent_source),
            coalesce(i.consent_kind, c.consent_kind), coalesce(i.consent_at, c.consent_at))
           is distinct from
           (c.organisation_id, c.external_id, c.email, c.phone, c.name, c.language, c.time_zone, c.country,
            c.region, c.postcode, c.attributes, c.consent_source, c.consent_kind, c.consent_at))
