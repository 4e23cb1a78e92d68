-- How a client proves who it is, where people come back to, what it may ask for; and who let it in. Whoever proposes a
-- client does not approve it: without an approval it is a proposal, and nobody can use it.
alter table api_client
    alter column jwks drop not null,
    add column jwks_uri text,
    add column method text not null default 'private_key_jwt'
        check (method in ('private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth')),
    add column tls_subject text,
    add column certificate_bound boolean not null default false,
    add column redirect_uris text[] not null default '{}',
    add column purposes text[] not null
        default '{credit_assessment,income_estimate,loan_referral,portrait,prescreen}',
    add column proposed_by text not null default 'worker:registration',
    add column approved_by text,
    add column approved_at timestamptz,
    add check (num_nonnulls(approved_by, approved_at) <> 1),
    add check (case method when 'private_key_jwt' then num_nonnulls(jwks, jwks_uri) = 1
                           when 'tls_client_auth' then tls_subject is not null
                           else jwks is not null end);
-- Until now a client was registered by the operator at once.
update api_client set approved_by = proposed_by, approved_at = made_at;
alter table api_client alter column method drop default, alter column purposes drop default,
    alter column proposed_by drop default;
