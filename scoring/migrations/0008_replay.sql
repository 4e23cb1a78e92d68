-- As of when a score's features were: so that they can be computed again from the behaviour itself.
alter table scoring_score add column data_cutoff timestamptz;   -- null: a score from before this column
