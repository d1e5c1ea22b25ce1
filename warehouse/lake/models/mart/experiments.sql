/* ---
description: What tests of variants and against holdouts show, arm by arm, with how sure one may be.
grain: one campaign, channel, variant, control, metric and currency
key: [campaign_id, channel, variant, control, metric, currency]
group: analytics
owner: team:analysts
computed: python
after_send: true
depends_on: [campaign.sends, campaign.messages, campaign.decisions, core.message_status, core.business_events]
freshness_hours: 26
chart: {name: contacts_by_variant, of: max(contacts), by: variant}
figures:
  experiments: count(distinct campaign_id)
columns:
  campaign_id: {type: varchar, description: The campaign., tests: [not_null, {relation: campaign.sends.campaign_id}]}
  organisation_id: {type: varchar, description: Whose campaign it is., tests: [not_null]}
  started_at: {type: timestamp with time zone, description: When the first send of the test was due., tests: [not_null]}
  ends_at: {type: timestamp with time zone, description: Until when conversions count; the window after the latest send., tests: [not_null]}
  channel: {type: varchar, description: "all: the campaign as a whole; email, sms or whatsapp where it used several.", tests: [not_null, {accepted: [all, email, sms, whatsapp]}]}
  variant: {type: varchar, description: "The arm: a variant, holdout, or empty for the message of a campaign without variants.", tests: [not_null]}
  control: {type: varchar, description: "The arm it is compared with: holdout, or the first variant. Null: others are compared with it."}
  metric: {type: varchar, description: What is counted of each contact; opens and clicks of people only., tests: [not_null, {accepted: [human_open, human_click, conversion, revenue, unsubscribe, complaint]}]}
  currency: {type: varchar, description: "Of revenue; null for other metrics, and for revenue where nothing was bought."}
  contacts: {type: bigint, unit: contacts, description: "The arm, by intention to treat: whoever was meant to get it, whatever became of the message.", tests: [not_null]}
  successes: {type: bigint, unit: contacts, description: Those of them who did what the metric says., tests: [not_null]}
  rate: {type: double, unit: share, description: successes / contacts; null for revenue and without contacts., tests: [share]}
  mean: {type: double, unit: currency, description: Revenue per contact; null for other metrics.}
  standard_deviation: {type: double, unit: currency, description: Of revenue over the contacts of the arm.}
  control_contacts: {type: bigint, unit: contacts, description: The same of the control.}
  control_successes: {type: bigint, unit: contacts, description: The same of the control.}
  control_rate: {type: double, unit: share, description: The same of the control., tests: [share]}
  control_mean: {type: double, unit: currency, description: The same of the control.}
  difference: {type: double, description: "This arm less its control: in shares, or in currency."}
  difference_low: {type: double, description: "Lower end of the 95 % interval, for one look: Newcombe's of rates, Welch's of means."}
  difference_high: {type: double, description: Upper end of it.}
  p_value: {type: double, unit: share, description: "Two-sided, for one look: z test of two proportions, or Welch's test.", tests: [share]}
  adjusted_p_value: {type: double, unit: share, description: The same by Holm over all arms compared with this control., tests: [share]}
  uplift: {type: double, description: "Relative difference: 0.1 is a tenth more than the control. Null where the control has none."}
  uplift_low: {type: double, description: "Lower end of its 95 % interval, for one look; null where an arm has none."}
  uplift_high: {type: double, description: Upper end of it.}
  sequential_low: {type: double, description: "Lower end of the difference's confidence sequence: it holds at every look, however often."}
  sequential_high: {type: double, description: Upper end of it.}
  sequential_p_value: {type: double, unit: share, description: Always-valid p-value; holds at every look., tests: [share]}
  adjusted_sequential_p_value: {type: double, unit: share, description: "The same by Holm over all arms compared with this control; verdicts go by it.", tests: [share]}
  expected_share: {type: double, unit: share, description: What part of the contacts of this channel the arm was meant to have., tests: [not_null, share]}
  sample_ratio_p_value: {type: double, unit: share, description: How likely sizes so far from those shares are by chance (chi-square)., tests: [share]}
  is_sample_ratio_off: {type: boolean, description: "It is below 0.001: do not trust any figure of the test.", tests: [not_null]}
  is_deciding: {type: boolean, description: Whether this metric decides the comparison with this control., tests: [not_null]}
  verdict: {type: varchar, description: What the deciding metric allows to say; null for other rows., tests: [{accepted: [wins, loses, undecided, too_few, harmful, sample_ratio_off]}]}
  contacts_needed: {type: bigint, unit: contacts, description: "While nothing is decided: how many more this arm needs, the control growing alike, to show the uplift that the campaign calls worth finding."}
  computed_at: {type: timestamp with time zone, description: When this was computed., tests: [not_null]}
checks:
  successes_fit: select * from mart.experiments where successes > contacts
  verdicts_where_they_belong: select * from mart.experiments where (verdict is null) = is_deciding
--- */
