// node provider.mjs ACCOUNTS.json: a real OpenID Connect provider at Keycloak's addresses, with Keycloak's claims.
// Prints {"port": ...} when it listens. ACCOUNTS.json is read again at each use, so that a test can take roles away:
// {"people": {sub: {username, password, tenant_id, roles}}, "programs": {client_id: {secret, tenant_id, roles}},
//  "redirect_uris": [...], "post_logout_redirect_uris": [...], "backchannel": {"uri": ..., "names_session": bool},
//  "keys": [kid, ...], "token_s": seconds}.
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const found = createRequire(`${process.env.NODE_PATH}/`).resolve("oidc-provider");
const { default: Provider, errors } = await import(pathToFileURL(found));

const REALM = "/realms/omarino";
const PREFIX = "/protocol/openid-connect";
const AUDIENCE = "omarino-ai-hub";
const SCOPES = "openid profile email roles";
const told = () => JSON.parse(readFileSync(process.argv[2], "utf8"));
const pairs = new Map();

function signingKey(kid) {
  if (!pairs.has(kid)) {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    pairs.set(kid, { ...privateKey.export({ format: "jwk" }), kid, use: "sig", alg: "RS256" });
  }
  return pairs.get(kid);
}

function claimsOf(id) {
  const { people, programs } = told();
  const who = people[id] ?? programs[id] ?? {};
  return {
    preferred_username: who.username ?? `service-account-${id}`,
    tenant_id: who.tenant_id,
    realm_access: { roles: [...(who.roles ?? []), "offline_access"] },
  };
}

function clients() {
  const { programs, redirect_uris, post_logout_redirect_uris, backchannel, secret } = told();
  const pages = {
    client_id: AUDIENCE,
    client_secret: secret,
    redirect_uris,
    post_logout_redirect_uris,
    ...(backchannel && {
      backchannel_logout_uri: backchannel.uri,
      backchannel_logout_session_required: backchannel.names_session,
    }),
    grant_types: ["authorization_code", "password"],
    token_endpoint_auth_method: "client_secret_post",
  };
  const others = Object.entries(programs).map(([client_id, { secret }]) => ({
    client_id,
    client_secret: secret,
    redirect_uris: [],
    response_types: [],
    grant_types: ["client_credentials"],
    token_endpoint_auth_method: "client_secret_post",
  }));
  return [pages, ...others];
}

function resourceServer() {
  const { token_s } = told();
  return {
    scope: SCOPES,
    audience: AUDIENCE,
    accessTokenFormat: "jwt",
    accessTokenTTL: token_s,
    jwt: { sign: { alg: "RS256" } },
  };
}

function made(issuer) {
  const provider = new Provider(issuer, {
    clients: clients(),
    jwks: { keys: told().keys.map(signingKey) },
    scopes: SCOPES.split(" "),
    pkce: { required: () => true },
    cookies: { keys: ["of the tests"] },
    routes: {
      authorization: `${PREFIX}/auth`,
      token: `${PREFIX}/token`,
      jwks: `${PREFIX}/certs`,
      userinfo: `${PREFIX}/userinfo`,
      end_session: `${PREFIX}/logout`,
    },
    claims: { openid: ["sub"], profile: ["preferred_username"], email: ["email", "email_verified"] },
    conformIdTokenClaims: false,
    ttl: { IdToken: told().token_s },
    findAccount: (_, id) => told().people[id] && { accountId: id, claims: () => ({ sub: id, ...claimsOf(id) }) },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      rpInitiatedLogout: { enabled: true },
      backchannelLogout: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => `urn:${AUDIENCE}`,
        useGrantedResource: () => true,
        getResourceServerInfo: () => resourceServer(),
      },
    },
    extraTokenClaims: (_, token) => ({
      azp: token.clientId,
      typ: "Bearer",
      ...claimsOf(token.accountId ?? token.clientId),
    }),
    fetch: (url, { dispatcher, ...asked }) => fetch(url, asked), // its own refuses this machine
    interactions: { url: (_, { uid }) => `${REALM}/interaction/${uid}` },
    loadExistingGrant: async ({ oidc }) => {
      const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
      grant.addOIDCScope("openid profile email");
      grant.addResourceScope(`urn:${AUDIENCE}`, SCOPES);
      await grant.save();
      return grant; // no page that asks for consent
    },
  });
  provider.registerGrantType("password", passwordGrant, ["username", "password", "scope"]);
  return provider;
}

function personNamed(username, password) {
  const known = Object.entries(told().people);
  return known.find(([, who]) => who.username === username && who.password === password)?.[0];
}

async function passwordGrant(ctx) {
  const { params, client, provider } = ctx.oidc;
  const accountId = personNamed(params.username, params.password);
  if (!accountId) throw new errors.InvalidGrant("bad username or password");
  const grant = new provider.Grant({ clientId: client.clientId, accountId });
  grant.addResourceScope(`urn:${AUDIENCE}`, SCOPES);
  const token = new provider.AccessToken({
    accountId,
    client,
    grantId: await grant.save(),
    gty: "password",
    scope: SCOPES,
  });
  token.resourceServer = new provider.ResourceServer(`urn:${AUDIENCE}`, resourceServer());
  ctx.body = { access_token: await token.save(), token_type: "Bearer", expires_in: token.expiration };
}

const FORM = (said) => `<!DOCTYPE html><html lang="en"><title>Sign in to the realm</title>
<h1>Sign in to the realm</h1><p>${said}</p><form method="post">
<label>Name <input name="username" autofocus></label>
<label>Secret <input name="password" type="password"></label><button>Enter</button></form></html>`;

async function interact(request, response) {
  let said = "";
  if (request.method === "POST") {
    const parts = [];
    for await (const part of request) parts.push(part);
    const form = new URLSearchParams(Buffer.concat(parts).toString());
    const accountId = personNamed(form.get("username"), form.get("password"));
    if (accountId) return provider.interactionFinished(request, response, { login: { accountId } });
    said = "That is not right.";
  }
  response.setHeader("content-type", "text/html; charset=utf-8").end(FORM(said));
}

let provider;
let madeFrom;
const server = createServer((request, response) => {
  const { people, ...fixed } = told();
  if (JSON.stringify(fixed) !== madeFrom) {
    madeFrom = JSON.stringify(fixed);
    provider = made(issuer);
  }
  if (request.url.startsWith(`${REALM}/interaction/`)) return interact(request, response);
  if (!request.url.startsWith(REALM)) return response.writeHead(404).end();
  request.originalUrl = request.url;
  request.url = request.url.slice(REALM.length);
  return provider.callback()(request, response);
});
let issuer;
server.listen(Number(process.argv[3] ?? 0), "127.0.0.1", () => {
  const { port } = server.address();
  issuer = `http://127.0.0.1:${port}${REALM}`;
  console.log(JSON.stringify({ port }));
});
