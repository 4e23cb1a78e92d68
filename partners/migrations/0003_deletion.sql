-- A person's deletion takes their applications with it, and what became of them, behind their own wall.
create policy deleted_by_person on partners_outcome for delete to xinqiao_person using (user_id = (select app_person()));
grant delete on partners_application, partners_offer, partners_referral, partners_referral_step, partners_outcome
    to xinqiao_person;
