import assert from 'node:assert/strict'
import { test } from 'node:test'
import { client, xml } from '@xmpp/client'
import { createServer } from '../../src/index.ts'
import terms from './terms.ts'

const NS = 'urn:example:terms'

test('who has accepted the terms may write', async () => {
  await using server = await createServer({
    listen: { tls: 'none', allow_plain_without_tls: true },
    use: [{ module: terms, settings: { version: 2 } }],
  })
  await server.accounts.register('juliet@localhost', 'Capulet')
  await server.start()

  const juliet = client({
    service: `xmpp://127.0.0.1:${server.listeners[0]?.port}`,
    domain: 'localhost',
    credentials: { username: 'juliet', password: 'Capulet' },
  })
  await juliet.start()
  try {
    const stanzas: string[] = []
    const arrived = new Promise<void>((resolve) => {
      juliet.on('stanza', (stanza) => {
        if (!stanza.is('message')) return
        stanzas.push(stanza.attrs.type ?? 'normal')
        if (stanzas.length === 2) resolve()
      })
    })
    const message = xml('message', { to: 'juliet@localhost' }, xml('body', {}, 'Ay me!'))
    await juliet.send(xml('presence'))

    await juliet.send(message)
    const shown = await juliet.iqCaller.get(xml('terms', { xmlns: NS }), 'localhost')
    assert.equal(shown?.attrs.version, '2')
    await juliet.iqCaller.set(xml('accept', { xmlns: NS, version: '2' }), 'localhost')
    await juliet.send(message)

    await arrived
    assert.deepEqual(stanzas, ['error', 'normal'])
    const told = await server.command('terms accepted', { jid: 'juliet@localhost' })
    assert.equal((told as { version: number }).version, 2)
  } finally {
    await juliet.stop()
  }
})
