-- A person's deletion takes their data and scores with it, behind their own wall.
create policy deleted_by_person on scoring_feature for delete to xinqiao_person using (user_id = (select app_person()));
create policy deleted_by_person on scoring_score for delete to xinqiao_person using (user_id = (select app_person()));
grant delete on scoring_feature, scoring_score to xinqiao_person;
