import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:https'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { Validator } from '@seriousme/openapi-schema-validator'
import { commandsWith } from '../../src/admin/commands.ts'
import { streams } from '../../src/admin/streams.ts'
import type { TokenAnswer } from '../../src/admin/token-answer.ts'
import { Envelope, SERVER } from '../../src/core/envelope.ts'
import { createLogger } from '../../src/log.ts'
import { modules } from '../../src/modules.ts'
import { parseBare, parseJid } from '../../src/xmpp/jid.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import { el } from '../../src/xmpp/xml.ts'
import { ask, giveOverHttp, type Problem, tokenFor } from '../support/api.ts'
import { startServer } from '../support/server.ts'
import { cases, DOMAIN, OTHER, openStage } from './cases.ts'

type OneJson<Schema> = { readonly 'application/json': { readonly schema: Schema } }

/** As far as it is looked at. */
type OpenApi = {
  readonly paths: Readonly<
    Record<
      string,
      {
        readonly post: {
          readonly requestBody: { readonly content: OneJson<{ readonly properties: object }> }
          readonly responses: { readonly '200': { readonly content: OneJson<object> } }
        }
      }
    >
  >
}

const commands = commandsWith(modules)
const permissionOf = (name: string) => commands.find((each) => each.name === name)?.permission ?? ''

test('without a good token nothing is told or done, and guesses are slowed down', async () => {
  await using server = await startServer({ http: {} })
  const url = server.urlOf()
  const good = await tokenFor(server, 'admin')
  const expired = await tokenFor(server, 'admin', undefined, Date.now() - 1)
  const revoked = await tokenFor(server, 'admin')
  await server.server.tokens.revoke(revoked.slice(8, 20))
  const [head, secret = ''] = good.split('.')
  const wrong: (string | undefined)[] = [
    undefined,
    '',
    'x',
    expired,
    revoked,
    `${head}.${'A'.repeat(secret.length)}`,
    `${good}A`,
    good.slice(0, -1),
    `${head}.`,
  ]
  for (const given of wrong) {
    const { status, body, headers } = await ask<Problem>(`${url}/api/status`, {
      token: given,
      args: {},
    })
    assert.deepEqual([status, body.code], [401, 'unauthorized'], String(given))
    assert.match(headers.get('www-authenticate') ?? '', /^Bearer/)
  }
  const { status } = await ask(`${url}/api/openapi.json`, { method: 'GET' })
  assert.equal(status, 401)
  const basic = { authorization: `Basic ${Buffer.from(`x:${good}`).toString('base64')}` }
  assert.equal((await ask(`${url}/api/status`, { headers: basic })).status, 401)
  for (let i = 0; i < 20; i++) await ask(`${url}/api/status`, { token: 'x' })
  const slowed = await ask(`${url}/api/status`, { token: 'x' })
  assert.deepEqual([slowed.status, slowed.headers.get('retry-after')], [429, '60'])
  // Who knows better is not kept out by that.
  assert.equal((await ask(`${url}/api/status`, { token: good })).status, 200)
})

test('a role may give what is its own, about its domains', async () => {
  await using stage = await openStage({ http: {} })
  const { server } = stage
  const url = server.urlOf()
  const give = async (token: string, name: string, args: unknown) => {
    try {
      await giveOverHttp(url, token, name, args)
      return 'done'
    } catch (error) {
      return (error as { code: string }).code
    }
  }
  const reader = await tokenFor(server, 'read-only')
  const ofOther = await tokenFor(server, 'domain-admin', [OTHER])
  for (const { command, args } of cases) {
    const isReading = permissionOf(command).endsWith(':read')
    if (!isReading) assert.equal(await give(reader, command, args), 'forbidden', command)
    // All of them are about the first domain, or about the whole server.
    assert.equal(await give(ofOther, command, args), 'forbidden', command)
  }
  const dora = `dora@${OTHER}`
  const fine: [string, object][] = [
    ['account info', { jid: dora }],
    ['account list', { domain: OTHER }],
    ['account password', { jid: dora, password: 'y' }],
    ['roster set', { jid: dora, contact: `alice@${DOMAIN}` }],
    ['session list', { domain: OTHER }],
    ['archive purge', { older_than: '1d', jid: dora }],
  ]
  for (const [name, args] of fine) assert.equal(await give(ofOther, name, args), 'done', name)
  const elsewhere: [string, object][] = [
    ['account list', {}],
    ['account list', { domain: DOMAIN }],
    ['session list', { domain: OTHER, jid: `alice@${DOMAIN}` }],
    ['session list', {}],
    ['archive purge', { older_than: '1d' }],
    ['message announce', { body: 'x' }],
  ]
  for (const [name, args] of elsewhere) {
    assert.equal(await give(ofOther, name, args), 'forbidden', `${name} ${JSON.stringify(args)}`)
  }
  // Who can log in as an administrator is one.
  const root = `root@${OTHER}`
  for (const jid of [dora, root]) await server.server.administrators.add(parseBare(jid))
  const password = 'of my own'
  assert.equal(await give(ofOther, 'account password', { jid: dora, password }), 'forbidden')
  assert.equal(await give(ofOther, 'account register', { jid: root, password }), 'forbidden')
  const admin = await tokenFor(server, 'admin')
  assert.equal(await give(admin, 'account password', { jid: dora, password }), 'done')
  assert.equal(await give(admin, 'account register', { jid: root, password }), 'done')
  const readerOfOther = await tokenFor(server, 'read-only', [OTHER])
  assert.equal(await give(readerOfOther, 'account info', { jid: dora }), 'done')
  assert.equal(await give(readerOfOther, 'account info', { jid: `alice@${DOMAIN}` }), 'forbidden')
  assert.equal(await give(readerOfOther, 'status', {}), 'forbidden')
})

test('a token is used no more often than is allowed', async () => {
  await using server = await startServer({ http: {}, admin: { requests_per_minute: 3 } })
  const token = await tokenFor(server, 'admin')
  const other = await tokenFor(server, 'admin')
  const asks = async (token: string) =>
    (await ask(`${server.urlOf()}/api/domain/list`, { token, args: {} })).status
  const statuses = [await asks(token), await asks(token), await asks(token), await asks(token)]
  assert.deepEqual(statuses, [200, 200, 200, 429])
  assert.equal(await asks(other), 200)
})

test('what comes in is bounded, and what goes out is safe', async () => {
  await using server = await startServer({ http: {} })
  const url = `${server.urlOf()}/api/account/list`
  const token = await tokenFor(server, 'admin')
  const answers: [options: object, status: number][] = [
    [{ args: '{"domain":' }, 400],
    [{ args: '[]' }, 400],
    [{ args: '"x"' }, 400],
    [{ args: { domain: 5 } }, 400],
    [{ args: { surprise: 'x' } }, 400],
    [{ args: `{"__proto__":{"x":1}}` }, 400],
    [{ args: { domain: 'x'.repeat(70_000) } }, 413],
    [{ args: 'x=1', headers: { 'content-type': 'text/plain' } }, 415],
    [{ method: 'GET' }, 405],
    [{ method: 'DELETE' }, 405],
    [{ args: {} }, 200],
  ]
  for (const [options, status] of answers) {
    const answer = await ask<Problem>(url, { token, ...options })
    assert.equal(answer.status, status, JSON.stringify(options).slice(0, 100))
    const { headers, body } = answer
    assert.equal(headers.get('x-content-type-options'), 'nosniff')
    assert.equal(headers.get('cache-control'), 'no-store')
    assert.equal(headers.get('access-control-allow-origin'), null)
    assert.match(headers.get('content-security-policy') ?? '', /default-src 'none'/)
    if (status === 200) continue
    assert.match(headers.get('content-type') ?? '', /^application\/problem\+json/)
    assert.equal(body.status, status)
    assert.ok(body.title && body.detail && body.code)
  }
  const cors = { origin: 'https://evil.example', 'access-control-request-method': 'POST' }
  const preflight = await ask(url, { method: 'OPTIONS', headers: cors })
  assert.deepEqual(
    [preflight.status, preflight.headers.get('access-control-allow-origin')],
    [405, null],
  )
})

test('nothing secret gets into the log', async () => {
  const lines: string[] = []
  const log = createLogger({
    level: 'trace',
    format: 'json',
    write: (line: string) => void lines.push(line),
  })
  await using stage = await openStage({ http: {}, log })
  const token = await tokenFor(stage.server, 'admin')
  const url = stage.server.urlOf()
  const secrets = [token.split('.')[1] as string]
  for (const { command, args, refused = [] } of cases) {
    for (const given of [args, ...refused.map(([wrong]) => wrong)]) {
      if ('password' in given && String(given.password).length > 5)
        secrets.push(String(given.password))
      await giveOverHttp(url, token, command, given).then(
        (result) =>
          secrets.push(...('token' in Object(result) ? [Object(result).token.split('.')[1]] : [])),
        () => {},
      )
    }
  }
  await giveOverHttp(url, `${token}x`, 'status', {}).catch(() => {})
  const written = lines.join('')
  assert.match(written, /admin_command/)
  assert.match(written, /carol@/)
  assert.ok(secrets.length >= 4)
  for (const secret of secrets) assert.ok(!written.includes(secret), secret)
  for (const body of ['Mind the gap', 'Read this later']) assert.ok(!written.includes(body), body)
})

test('the OpenAPI document is valid, and has every command', async () => {
  await using server = await startServer({ http: {} })
  const token = await tokenFor(server, 'read-only')
  const { body } = await ask<OpenApi>(`${server.urlOf()}/api/openapi.json`, {
    token,
    method: 'GET',
  })
  const validator = new Validator()
  const { valid, errors } = await validator.validate(structuredClone(body))
  assert.ok(valid, JSON.stringify(errors))
  assert.equal(validator.version, '3.1')
  for (const { name } of commands) {
    const post = body.paths[`/api/${name.replaceAll(' ', '/')}`]?.post
    assert.ok(post?.requestBody.content['application/json'].schema.properties, name)
    assert.ok(post.responses['200'].content['application/json'].schema, name)
  }
})

test('who asks for events is told how far long work is', async () => {
  await using stage = await openStage({ http: {} })
  const token = await tokenFor(stage.server, 'admin')
  const url = `${stage.server.urlOf()}/api/message/announce`
  const headers = { accept: 'text/event-stream' }
  const fine = await ask(url, { token, headers, args: { body: 'Hear ye' } })
  assert.match(fine.headers.get('content-type') ?? '', /^text\/event-stream/)
  assert.equal(
    fine.body,
    'event: progress\ndata: {"done":1,"total":1,"of":"sessions"}\n\n' +
      'event: result\ndata: {"sent":1}\n\n',
  )
  const wrong = await ask<string>(url, { token, headers, args: {} })
  assert.match(wrong.body, /^event: error\ndata: \{.*"code":"invalid".*\}\n\n$/)
  const refused = await ask(url, { token: 'x', headers, args: {} })
  assert.equal(refused.status, 401)
})

test('what is followed comes as events, for whom it is', async () => {
  await using stage = await openStage({ http: {} })
  const { server, alice } = stage
  const url = `${server.urlOf()}/api/trace`
  const jid = `alice@${DOMAIN}`
  const statusFor = async (token: string, args: object) => (await ask(url, { token, args })).status
  const reader = await tokenFor(server, 'read-only')
  assert.equal(await statusFor(reader, { jid, body: true }), 403)
  assert.equal(await statusFor(await tokenFor(server, 'domain-admin', [OTHER]), { jid }), 403)
  assert.equal(await statusFor(reader, { jid: 'not@@' }), 400)
  assert.equal(await statusFor('x', { jid }), 401)

  const over = new AbortController()
  const response = await fetch(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${reader}`, 'content-type': 'application/json' },
    body: JSON.stringify({ jid }),
    signal: over.signal,
  })
  assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/)
  assert.equal(response.headers.get('x-content-type-options'), 'nosniff')
  await server.server.router.route(noticeFor(jid))
  await alice.receives({ body: 'You are followed' })
  let seen = ''
  for await (const chunk of response.body ?? []) {
    seen += Buffer.from(chunk).toString()
    if (seen.includes('"fate":"delivered"')) break
  }
  assert.match(seen, /^event: item\ndata: \{"trace":/)
  assert.ok(!seen.includes('You are followed'), seen)
  over.abort()
})

test('who follows keeps no server from stopping', async () => {
  const server = await startServer({ http: {} })
  const response = await fetch(`${server.urlOf()}/api/trace`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${await tokenFor(server, 'admin')}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ jid: DOMAIN }),
  })
  const ended = response.text()
  await server[Symbol.asyncDispose]()
  assert.equal(await ended, '')
})

test('health: alive, and ready while it serves', async () => {
  await using server = await startServer({ http: {} })
  const url = server.urlOf()
  assert.deepEqual((await ask(`${url}/health/live`, { method: 'GET' })).body, { status: 'live' })
  assert.deepEqual((await ask(`${url}/health/ready`, { method: 'GET' })).body, { status: 'ready' })
})

test('health: not ready without its storage', async () => {
  await using server = await startServer({ http: {} })
  await server.server.storage.close()
  const { status, body } = await ask<Problem>(`${server.urlOf()}/health/ready`, { method: 'GET' })
  assert.deepEqual([status, body.detail], [503, 'the storage does not answer'])
})

test('api: what is no token costs nothing of the storage, and a good one hears what is wrong with it', async () => {
  await using server = await startServer({ http: {} })
  const good = await tokenFor(server, 'admin')
  await server.server.storage.close()
  const url = `${server.urlOf()}/api/status`
  const asked = async (token: string) => {
    const { status, body } = await ask<Problem>(url, { token, args: {} })
    return [status, body.code]
  }
  assert.deepEqual(await asked('meerkat_x'), [401, 'unauthorized'])
  assert.deepEqual(await asked(good), [503, 'unavailable'])
})

test('api: a token is good where nothing can be written', async () => {
  await using server = await startServer({ http: {} })
  const token = await tokenFor(server, 'admin')
  await server.server.storage.write(
    "create trigger full before update on admin_token begin select raise(abort, 'full'); end",
    [],
  )
  assert.equal((await ask(`${server.urlOf()}/api/status`, { token, args: {} })).status, 200)
})

test('each listener serves what it is for, over TLS where that is wanted', async () => {
  await using server = await startServer({
    http: [{ services: ['health'] }, { tls: 'direct', services: ['metrics'] }],
  })
  const open = server.urlOf(0)
  assert.equal((await ask(`${open}/metrics`, { method: 'GET' })).status, 404)
  assert.equal((await ask(`${open}/api/status`, { args: {} })).status, 404)
  const outgoing = request(`${server.urlOf(1)}/metrics`, { rejectUnauthorized: false }).end()
  const [response] = await once(outgoing, 'response')
  assert.equal(response.statusCode, 200)
  assert.match(response.headers['strict-transport-security'], /max-age/)
  assert.match(await text(response), /^meerkat_info\{/m)
})

test('who connects and says nothing, or half, keeps no server from stopping', async () => {
  const server = await startServer({ http: {} })
  const { port } = new URL(server.urlOf())
  const silent = connect(Number(port), '127.0.0.1')
  const slow = connect(Number(port), '127.0.0.1')
  await Promise.all([once(silent, 'connect'), once(slow, 'connect')])
  slow.write('POST /api/status HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n')
  const closed = [silent, slow].map((socket) => {
    // A reset is an end as well.
    socket.on('error', () => {})
    return new Promise((resolve) => socket.resume().once('close', resolve))
  })
  await server[Symbol.asyncDispose]()
  await Promise.all(closed)
})

function noticeFor(jid: string): Envelope {
  const message = Stanza.build('message', { type: 'chat' }, el('body', {}, 'You are followed'))
  return new Envelope(parseJid(DOMAIN), parseJid(jid), message, SERVER)
}

test('a token is told what it is good for', async () => {
  await using server = await startServer({ domains: [DOMAIN, OTHER], http: {} })
  const about = async (token: string | undefined) =>
    await ask<TokenAnswer>(`${server.urlOf()}/api/token`, { method: 'GET', token })
  assert.equal((await about(undefined)).status, 401)

  const { body: admin } = await about(await tokenFor(server, 'admin'))
  assert.deepEqual([admin.domains, admin.hosted, admin.content], [null, [DOMAIN, OTHER], true])
  assert.deepEqual(
    new Set(admin.commands),
    new Set([...commands, ...streams].map(({ name }) => name)),
  )
  const { body: warden } = await about(await tokenFor(server, 'domain-admin', [OTHER]))
  assert.deepEqual([warden.domains, warden.hosted, warden.content], [[OTHER], [OTHER], true])
  assert.ok(warden.commands.includes('account remove') && warden.commands.includes('trace'))
  assert.ok(!warden.commands.includes('status') && !warden.commands.includes('route watch'))
  const { body: reader } = await about(await tokenFor(server, 'read-only'))
  assert.equal(reader.content, false)
  assert.ok(reader.commands.includes('route watch') && !reader.commands.includes('account remove'))
})

test('the admin page is served to everybody, and lets nothing in from elsewhere', async () => {
  await using server = await startServer({ http: [{}, { services: ['api', 'health'] }] })
  const url = `${server.urlOf()}/admin/`
  const page = await ask<string>(url, { method: 'GET' })
  assert.equal(page.status, 200)
  assert.doesNotMatch(page.body, /https?:|<style|style=|<script(?! type="module" src=)|\son\w+=/)
  const { headers } = page
  const policy = headers.get('content-security-policy') ?? ''
  assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self';/)
  assert.doesNotMatch(policy, /unsafe|\*|data:/)
  assert.equal(headers.get('content-type'), 'text/html; charset=utf-8')
  assert.equal(headers.get('x-content-type-options'), 'nosniff')
  assert.equal(headers.get('cache-control'), 'no-cache')

  const etag = headers.get('etag') ?? ''
  const again = await ask(url, { method: 'GET', headers: { 'if-none-match': etag } })
  assert.deepEqual([again.status, again.body], [304, ''])
  assert.equal((await ask(url, { method: 'GET', headers: { 'if-none-match': '"x"' } })).status, 200)
  const names = [...page.body.matchAll(/(?:src|href)="([^"#]+)"/g)].map(([, name = '']) => name)
  assert.deepEqual(new Set(names), new Set(['icon.svg', 'page.css', 'app.js']))
  for (const name of names) {
    assert.equal((await ask(`${url}${name}`, { method: 'GET' })).status, 200, name)
  }
  for (const name of ['index.html', '../page.ts', '%2e%2e/page.ts', 'nothing.js']) {
    assert.equal((await ask(`${url}${name}`, { method: 'GET' })).status, 404, name)
  }
  assert.equal((await ask(`${server.urlOf(1)}/admin/`, { method: 'GET' })).status, 404)
  await assert.rejects(startServer({ http: { services: ['page'] } }), /"api" beside "page"/)
})
