-- A person may agree that only "reaches a product's cut-off, or not" is told.
alter table consent_grant drop constraint consent_grant_answer_check;
alter table consent_grant add constraint consent_grant_answer_check check (answer in ('full', 'band', 'threshold'));
