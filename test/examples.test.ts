import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { parse } from 'smol-toml'
import { el } from '../src/xmpp/xml.ts'
import { startServer } from './support/server.ts'
import { chat } from './support/stanzas.ts'

const run = promisify(execFile)
const examples = new URL('../examples/', import.meta.url)

test('a server is embedded, carries a message, and ends by itself', async () => {
  const { stdout, stderr } = await run(process.execPath, [new URL('embed.ts', examples).pathname])

  assert.equal(stdout, 'juliet@localhost: delivered\njuliet: Ay me!\n')
  assert.equal(stderr, '')
})

test('a module of the operator’s own is loaded by its file', async () => {
  const file = parse(readFileSync(new URL('own-module.toml', examples), 'utf8'))
  const { domains, modules } = file as { domains: string[]; modules: Record<string, object> }
  await using server = await startServer({
    domains,
    modules: modules as never,
    directory: examples.pathname,
  })
  const juliet = await server.connect('juliet')

  const answer = await juliet.ask('get', 'localhost', el('limit', { xmlns: 'urn:example:quiet' }))
  assert.equal(answer.child('limit', 'urn:example:quiet')?.text, '1')
  juliet.send(chat(juliet.fullJid, 'O Romeo!'), chat(juliet.fullJid, 'O Romeo, Romeo!!'))

  await juliet.receivesNext({ body: 'O Romeo!', type: 'chat' })
  await juliet.receivesNext({ error: 'policy-violation' })
})
