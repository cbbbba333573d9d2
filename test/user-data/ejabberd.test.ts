import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Imported } from '../../src/admin/commands/data.ts'
import { startEjabberd, withoutEjabberd } from '../support/ejabberd.ts'
import { Internet } from '../support/federation.ts'
import { freePort } from '../support/free-port.ts'
import { giveAsOperator } from '../support/operator.ts'
import { startServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'
import { setsEverything, showsEverything } from './everything.ts'

const DOMAIN = 'montague.example'

for (const passwords of ['plain', 'scram'] as const) {
  test(
    `what ejabberd exports is here afterwards, passwords ${passwords}`,
    { skip: withoutEjabberd },
    () => moves(passwords),
  )
}

async function moves(passwords: 'plain' | 'scram') {
  await using internet = await Internet.start()
  const apiPort = await freePort('127.0.0.1')
  await using ejabberd = await startEjabberd(internet, DOMAIN, ['romeo', 'benvolio'], {
    apiPort,
    passwords,
    more: ['mod_private', 'mod_privacy', 'mod_blocking', 'mod_vcard'],
  })
  const romeo = await ejabberd.connect('romeo', 'orchard')
  await setsEverything(romeo)
  for (let n = 0; n < 20; n++) romeo.send(chat(`benvolio@${DOMAIN}`, `Good morrow ${n}, “cousin”`))
  await romeo.roundTrip()
  const { directory } = ejabberd.place
  const exported = await fetch(`http://127.0.0.1:${apiPort}/api/export_piefxis`, {
    method: 'POST',
    body: JSON.stringify({ dir: directory }),
  })
  assert.equal(exported.status, 200, await exported.text())
  await ejabberd.kill()
  const files = await readdir(directory)
  const main = files.find((name) => /^\d{8}-\d{6}\.xml$/.test(name))
  assert.ok(main, files.join())

  await using server = await startServer({ domains: [DOMAIN] })
  const file = join(directory, main)
  const first = await giveAsOperator<Imported>(server, 'account import', { file })
  assert.deepEqual([first.accounts, first.problems], [2, []])
  const again = await giveAsOperator<Imported>(server, 'account import', { file })
  assert.deepEqual([again.existing, again.added], [2, 0])
  await showsEverything(await server.connect('romeo', 'garden'))
  const benvolio = await server.connect('benvolio')
  for (let n = 0; n < 20; n++) await benvolio.receives({ body: `Good morrow ${n}, “cousin”` })
}
