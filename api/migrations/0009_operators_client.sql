-- Behaviour is brought by the operator's own software, which does nothing else; a partner's client never brings any.
alter table api_client add constraint behaviour_is_the_operators check (
    case when partner = '00000000-0000-0000-0000-000000000000' then scopes = '{behaviour}'
         else not 'behaviour' = any(scopes) end);
