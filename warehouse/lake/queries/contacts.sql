-- name: new_or_changed
-- Imported contacts that are new, or differ from what is there; the erased stay erased. Consent is one fact of
-- three columns: an import that knows of none, or does not say on what ground, does not take away a better one.
with matched as (
    select i.*, c.contact_id is null as is_new, c.is_erased, c.created_at as known_since,
           c.consent_source as known_source, c.consent_kind as known_kind, c.consent_at as known_at,
           coalesce(c.consent_source is not null
                    and (i.consent_source is null
                         or (i.consent_kind = 'unstated' and c.consent_kind <> 'unstated')), false) as keeps_consent,
           row(c.organisation_id, c.external_id, c.email, c.phone, c.name, c.language, c.time_zone, c.country,
               c.region, c.postcode, c.attributes, c.consent_source, c.consent_kind, c.consent_at) as known
    from imported i left join core.contacts c using (contact_id)
),
proposed as (
    select * replace (
               case when keeps_consent then known_source else consent_source end as consent_source,
               case when keeps_consent then known_kind else consent_kind end as consent_kind,
               case when keeps_consent then known_at
                    -- The same consent, only told without its date.
                    when consent_source = known_source then coalesce(consent_at, known_at)
                    else consent_at end as consent_at)
    from matched
)
select contact_id, organisation_id, external_id, email, phone, name, language, time_zone, country, region, postcode,
       attributes, consent_source, consent_kind, consent_at,
       false as is_erased, coalesce(known_since, $now) as created_at, $now as updated_at
from proposed
where is_new
   or (not is_erased
       and row(organisation_id, external_id, email, phone, name, language, time_zone, country, region, postcode,
               attributes, consent_source, consent_kind, consent_at) is distinct from known)
