import assert from 'node:assert/strict'
import { test } from 'node:test'
import { el } from '../../src/xmpp/xml.ts'
import { makeDomainCertificate } from '../support/certificates.ts'
import { Internet, type ServerWishes } from '../support/federation.ts'
import { type ProsodyWishes, startProsody, withoutProsody } from '../support/prosody.ts'
import { chat, presence } from '../support/stanzas.ts'

type Way = {
  readonly ours?: ServerWishes
  readonly theirs?: Partial<ProsodyWishes>
  /** Whether our certificate is one that nobody vouches for. */
  readonly isSelfSigned?: boolean
}

const ways: Readonly<Record<string, Way>> = {
  'certificates, both directions on one connection': {},
  'certificates, a connection each': { ours: { s2s: { bidi: false } }, theirs: { bidi: false } },
  'without stream management': { theirs: { smacks: false } },
  'without dialback': { ours: { s2s: { dialback: false } }, theirs: { dialback: false } },
  'our certificate is not vouched for': { isSelfSigned: true, theirs: { secureAuth: false } },
  'the same, a connection each': {
    isSelfSigned: true,
    ours: { s2s: { bidi: false } },
    theirs: { secureAuth: false, bidi: false },
  },
}

for (const [way, { ours, theirs, isSelfSigned = false }] of Object.entries(ways)) {
  test(`with Prosody: ${way}`, { skip: withoutProsody }, async () => {
    await using internet = await Internet.start()
    const capulet = await internet.server('capulet.example', {
      ...ours,
      ...(isSelfSigned && { certificate: makeDomainCertificate('capulet.example', undefined) }),
    })
    await using montague = await startProsody(internet, 'montague.example', ['romeo'], theirs)
    const juliet = await capulet.connect('juliet', 'balcony')
    const romeo = await montague.connect('romeo', 'orchard')
    try {
      await juliet.sends(chat(romeo.bareJid, 'Wherefore art thou Romeo?'))
      await romeo.receives({ from: juliet.fullJid, body: 'Wherefore art thou Romeo?' })
      await romeo.sends(chat(juliet.fullJid, 'Shall I hear more?'))
      await juliet.receives({ from: romeo.fullJid, body: 'Shall I hear more?' })

      const pong = await romeo.ask('get', 'capulet.example', el('ping', { xmlns: 'urn:xmpp:ping' }))
      assert.equal(pong.attr('type'), 'result')
      const back = await juliet.ask(
        'get',
        'montague.example',
        el('ping', { xmlns: 'urn:xmpp:ping' }),
      )
      assert.equal(back.attr('type'), 'result')
    } catch (error) {
      throw new Error(`${error}\n${montague.log}`, { cause: error })
    }
  })

  test(`Prosody begins: ${way}`, { skip: withoutProsody }, async () => {
    await using internet = await Internet.start()
    const capulet = await internet.server('capulet.example', {
      ...ours,
      ...(isSelfSigned && { certificate: makeDomainCertificate('capulet.example', undefined) }),
    })
    await using montague = await startProsody(internet, 'montague.example', ['romeo'], theirs)
    const juliet = await capulet.connect('juliet', 'balcony')
    const romeo = await montague.connect('romeo', 'orchard')
    try {
      await romeo.sends(presence('subscribe', juliet.bareJid))
      await juliet.receives({ name: 'presence', type: 'subscribe', from: romeo.bareJid })
      await juliet.sends(presence('subscribed', romeo.bareJid))
      // Prosody tells only clients that have asked for the roster of the subscription itself.
      await romeo.receives({ name: 'presence', type: undefined, from: juliet.fullJid })

      const lines = Array.from({ length: 200 }, (_, line) => `line ${line}`)
      await juliet.sends(...lines.map((line) => chat(romeo.fullJid, line)))
      for (const line of lines) await romeo.receivesNext({ body: line })
      await romeo.sends(...lines.map((line) => chat(juliet.fullJid, line)))
      for (const line of lines) await juliet.receivesNext({ body: line })
    } catch (error) {
      throw new Error(`${error}\n${montague.log}`, { cause: error })
    }
  })
}
