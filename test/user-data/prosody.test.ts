import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Imported } from '../../src/admin/commands/data.ts'
import { el } from '../../src/xmpp/xml.ts'
import { askArchive } from '../support/archive.ts'
import { Internet } from '../support/federation.ts'
import { giveAsOperator } from '../support/operator.ts'
import { startProsody, withoutProsody } from '../support/prosody.ts'
import { startServer } from '../support/server.ts'
import { chat, presence } from '../support/stanzas.ts'
import { setsEverything, showsEverything } from './everything.ts'

const DOMAIN = 'montague.example'
const BENVOLIO = `benvolio@${DOMAIN}`

test('what Prosody keeps in files is here afterwards', { skip: withoutProsody }, async () => {
  await using internet = await Internet.start()
  await using prosody = await startProsody(internet, DOMAIN, ['romeo', 'benvolio'], {
    isHashed: true,
    more: ['private', 'blocklist', 'mam'],
  })
  const romeo = await prosody.connect('romeo', 'orchard')
  await setsEverything(romeo)
  await romeo.sends(presence('subscribe', BENVOLIO))
  for (let n = 0; n < 150; n++) romeo.send(chat(BENVOLIO, `Good morrow ${n}, “cousin” \\ \x7f`))
  const ping = el('ping', { xmlns: 'urn:xmpp:ping' })
  await romeo.ask('get', DOMAIN, ping)
  await prosody.kill()

  await using server = await startServer({ domains: [DOMAIN] })
  const { directory } = prosody.place
  const first = await giveAsOperator<Imported>(server, 'import prosody', { directory })
  assert.deepEqual([first.accounts, first.existing], [2, 0])
  assert.deepEqual(
    first.problems.filter((text) => !/personal eventing/.test(text)),
    [],
  )
  const again = await giveAsOperator<Imported>(server, 'import prosody', { directory })
  assert.deepEqual([again.accounts, again.existing, again.added], [0, 2, 0])

  // With the password that only Prosody was ever told, of which it kept keys alone.
  const here = await server.connect('romeo', 'garden', { mechanism: 'SCRAM-SHA-1' })
  await showsEverything(here)
  const { bodies } = await askArchive(here, { page: { max: '100', before: '' } })
  assert.deepEqual(
    bodies,
    Array.from({ length: 100 }, (_, n) => `Good morrow ${n + 50}, “cousin” \\ \x7f`),
  )
  const benvolio = await server.connect('benvolio')
  await benvolio.receives({ from: `romeo@${DOMAIN}` })
  const waiting = await askArchive(benvolio, { page: { max: '1' } })
  assert.deepEqual(waiting.bodies, ['Good morrow 0, “cousin” \\ \x7f'])

  // What is damaged is told, and keeps nothing else back.
  const home = join(directory, 'montague%2eexample')
  await writeFile(join(home, 'roster', 'romeo.dat'), 'return { ["x@y.example"] = os.exit(1) };')
  await giveAsOperator(server, 'account remove', { jid: `romeo@${DOMAIN}` })
  const damaged = await giveAsOperator<Imported>(server, 'import prosody', { directory })
  assert.match(damaged.problems.join('\n'), /montague%2eexample\/roster\/romeo: line 1: no value/)
  assert.ok(damaged.accounts === 1 && damaged.added > 150)
  await rm(home, { recursive: true })
  const nothing = giveAsOperator(server, 'import prosody', { directory })
  await assert.rejects(nothing, /no accounts as Prosody keeps them/)
})
