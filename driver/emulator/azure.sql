-- What Azure Database for PostgreSQL adds to PostgreSQL: which roles are Entra roles, and
-- the SQL that creates them. The emulator runs it as superuser in the database postgres:
-- the section common, then the section of the server type. The section remove reverts
-- both.

-- == common

-- pg_dump ignores schemas with the prefix pg_, which PostgreSQL reserves for itself.
SET allow_system_table_mods = on;
CREATE SCHEMA pg_emulator;
RESET allow_system_table_mods;

-- The roles that existed before. They are never dropped.
CREATE TABLE pg_emulator.preexisting_roles AS SELECT oid AS id FROM pg_authid;

-- The databases of tests.
CREATE TABLE pg_emulator.databases (name text PRIMARY KEY);

-- The identities of the tenant.
CREATE TABLE pg_emulator.directory (oid text PRIMARY KEY, name text NOT NULL, kind text NOT NULL);

CREATE FUNCTION pg_emulator.create_group_role(role name) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
		EXECUTE format('CREATE ROLE %I NOLOGIN CREATEROLE', role);
	END IF;
END $$;

-- grant_admin makes a role a member of the administrators. Before PostgreSQL 16, a role with
-- CREATEROLE could add other members. Since then it needs ADMIN on the role, as on Azure.
CREATE FUNCTION pg_emulator.grant_admin(administrators name, target name) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('ALTER ROLE %I CREATEROLE CREATEDB', target);
	EXECUTE format('GRANT %I TO %I', administrators, target)
		|| CASE WHEN current_setting('server_version_num')::int >= 160000 THEN ' WITH ADMIN OPTION' ELSE '' END;
END $$;

-- == flexible

SELECT pg_emulator.create_group_role('azure_pg_admin');

-- A role is an Entra role if it has the security label of Azure's extension.
CREATE VIEW pg_emulator.principals AS
	SELECT r.oid AS id, r.rolname AS role, substring(l.label from 'type=([a-z]+)') AS kind, substring(l.label from 'oid=([^,]+)') AS oid,
	       l.label ~ ',admin\M' AS admin, l.label ~ ',mfa\M' AS mfa, r.rolpassword AS password
	FROM pg_authid r JOIN pg_shseclabel l ON l.objoid = r.oid AND l.classoid = 'pg_authid'::regclass AND l.provider = 'pgaadauth';

-- require_admin fails unless the session is an Entra administrator's, with PostgreSQL's
-- error for a missing EXECUTE privilege.
CREATE FUNCTION pg_emulator.require_admin(what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_emulator.principals p WHERE p.role = session_user AND p.admin) THEN
		RAISE insufficient_privilege USING MESSAGE = 'permission denied for ' || what;
	END IF;
END $$;

-- set_label sets the label of a role or, if the label is null, removes it. It also grants
-- the privileges of an administrator according to the label, or revokes them. It refuses
-- superusers, because an administrator must not control a role with more privileges.
CREATE FUNCTION pg_emulator.set_label(target name, new_label text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	target_oid oid;
	was_admin  boolean;
	is_admin   boolean := coalesce(new_label ~ ',admin\M', false);
BEGIN
	IF new_label !~ '^aadauth,oid=[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12},type=(user|group|service)(,admin)?(,mfa)?$' THEN
		RAISE invalid_parameter_value USING MESSAGE = format('invalid security label for role "%s": "%s"', target, new_label),
			HINT = 'The label is aadauth,oid=<object id>,type=<user, group or service>, and ,admin for an administrator.';
	END IF;
	SELECT r.oid INTO target_oid FROM pg_authid r WHERE r.rolname = target;
	IF target_oid IS NULL THEN
		RAISE undefined_object USING MESSAGE = format('role "%s" does not exist', target);
	END IF;
	IF EXISTS (SELECT FROM pg_authid r WHERE r.oid = target_oid AND r.rolsuper) THEN
		RAISE insufficient_privilege USING MESSAGE = 'must be superuser to alter superuser roles';
	END IF;
	SELECT p.admin INTO was_admin FROM pg_emulator.principals p WHERE p.id = target_oid;
	DELETE FROM pg_shseclabel l WHERE l.objoid = target_oid AND l.classoid = 'pg_authid'::regclass AND l.provider = 'pgaadauth';
	IF new_label IS NOT NULL THEN
		INSERT INTO pg_shseclabel (objoid, classoid, provider, label) VALUES (target_oid, 'pg_authid'::regclass, 'pgaadauth', new_label);
	END IF;
	IF is_admin THEN
		PERFORM pg_emulator.grant_admin('azure_pg_admin', target);
	ELSIF was_admin THEN
		EXECUTE format('ALTER ROLE %I NOCREATEROLE NOCREATEDB', target);
		EXECUTE format('REVOKE azure_pg_admin FROM %I CASCADE', target); -- with the members that it has added
	END IF;
END $$;

CREATE FUNCTION pg_emulator.label_text(oid text, kind text, admin boolean, mfa boolean) RETURNS text LANGUAGE sql AS $$
	SELECT concat('aadauth,oid=', oid, ',type=', kind, CASE WHEN admin THEN ',admin' END, CASE WHEN mfa THEN ',mfa' END)
$$;

CREATE FUNCTION pg_emulator.create_role(target name, oid text, kind text, admin boolean, mfa boolean) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I LOGIN', target);
	PERFORM pg_emulator.set_label(target, pg_emulator.label_text(oid, kind, admin, mfa));
	-- Since PostgreSQL 16, a role with CREATEROLE can drop only roles on which it has ADMIN.
	IF current_setting('server_version_num')::int >= 160000 AND admin IS NOT TRUE THEN
		EXECUTE format('GRANT %I TO azure_pg_admin WITH ADMIN TRUE, INHERIT FALSE, SET FALSE', target);
	END IF;
	RETURN format('Created role for "%s"', target);
END $$;

CREATE FUNCTION pg_catalog.pgaadauth_create_principal(rolename text, isadmin boolean, ismfa boolean) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	found_ids   text[];
	found_kinds text[];
BEGIN
	PERFORM pg_emulator.require_admin('function pgaadauth_create_principal');
	SELECT array_agg(d.oid), array_agg(d.kind) INTO found_ids, found_kinds FROM pg_emulator.directory d WHERE d.name = rolename;
	IF found_ids IS NULL THEN
		RAISE EXCEPTION 'Could not validate AAD user % because its name is not found in the tenant.', rolename;
	ELSIF cardinality(found_ids) > 1 THEN
		RAISE EXCEPTION 'Cannot validate Microsoft Entra ID user "%" because its name isn''t unique in the tenant.', rolename;
	END IF;
	RETURN pg_emulator.create_role(rolename::name, found_ids[1], found_kinds[1], isadmin, ismfa);
END $$;

CREATE FUNCTION pg_catalog.pgaadauth_create_principal_with_oid(rolename text, objectid text, objecttype text, isadmin boolean, ismfa boolean) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM pg_emulator.require_admin('function pgaadauth_create_principal_with_oid');
	RETURN pg_emulator.create_role(rolename::name, objectid, objecttype, isadmin, ismfa);
END $$;

CREATE FUNCTION pg_catalog.pgaadauth_update_principal_with_oid(rolename text, objectid text, objecttype text, isadmin boolean, ismfa boolean) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM pg_emulator.require_admin('function pgaadauth_update_principal_with_oid');
	PERFORM pg_emulator.set_label(rolename::name, pg_emulator.label_text(objectid, objecttype, isadmin, ismfa));
	RETURN format('Updated role for "%s"', rolename);
END $$;

CREATE FUNCTION pg_catalog.pgaadauth_list_principals(isadminvalue boolean)
RETURNS TABLE (rolname name, principaltype text, objectid text, tenantid text, ismfa int, isadmin int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM pg_emulator.require_admin('function pgaadauth_list_principals');
	RETURN QUERY SELECT p.role, p.kind, p.oid, '11111111-2222-3333-4444-555555555555', p.mfa::int, p.admin::int
		FROM pg_emulator.principals p WHERE p.admin OR isadminvalue IS NOT TRUE ORDER BY p.role;
END $$;

-- label does what SECURITY LABEL does with Azure's extension. The gateway replaces that
-- statement by a call of label.
CREATE PROCEDURE pg_emulator.label(target text, new_label text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM pg_emulator.require_admin('procedure label');
	PERFORM pg_emulator.set_label(target::name, new_label);
END $$;

REVOKE EXECUTE ON FUNCTION pg_catalog.pgaadauth_create_principal, pg_catalog.pgaadauth_create_principal_with_oid,
	pg_catalog.pgaadauth_update_principal_with_oid, pg_catalog.pgaadauth_list_principals FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_catalog.pgaadauth_create_principal, pg_catalog.pgaadauth_create_principal_with_oid,
	pg_catalog.pgaadauth_update_principal_with_oid, pg_catalog.pgaadauth_list_principals TO azure_pg_admin;
GRANT USAGE ON SCHEMA pg_emulator TO azure_pg_admin;

-- == single

SELECT pg_emulator.create_group_role('azure_ad_user'), pg_emulator.create_group_role('azure_ad_admin');
ALTER ROLE azure_ad_user NOCREATEROLE;
GRANT azure_ad_user TO azure_ad_admin WITH ADMIN OPTION;

-- A role is an Entra role if it is a member of azure_ad_user. The directory maps it to an
-- identity by its name, unless the role has a password, which is then the client id.
CREATE VIEW pg_emulator.principals AS
	SELECT r.oid AS id, r.rolname AS role, coalesce(d.kind, '') AS kind, coalesce(d.oid, '') AS oid,
	       EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid AND g.rolname = 'azure_ad_admin') AS admin,
	       false AS mfa, r.rolpassword AS password
	FROM pg_authid r LEFT JOIN pg_emulator.directory d ON d.name::name = r.rolname AND d.kind IN ('user', 'group')
	WHERE NOT r.rolsuper AND r.rolname <> 'azure_ad_admin'
	      AND EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid AND g.rolname = 'azure_ad_user');

CREATE FUNCTION pg_emulator.create_role(target name, oid text, kind text, admin boolean, mfa boolean) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I LOGIN IN ROLE azure_ad_user', target);
	IF admin THEN
		PERFORM pg_emulator.grant_admin('azure_ad_admin', target);
	END IF;
	RETURN format('Created role for "%s"', target);
END $$;

-- == remove

DROP SCHEMA IF EXISTS pg_emulator CASCADE;
DROP FUNCTION IF EXISTS pg_catalog.pgaadauth_create_principal, pg_catalog.pgaadauth_create_principal_with_oid,
	pg_catalog.pgaadauth_update_principal_with_oid, pg_catalog.pgaadauth_list_principals;
