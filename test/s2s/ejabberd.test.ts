import { test } from 'node:test'
import { makeDomainCertificate } from '../support/certificates.ts'
import {
  type EjabberdWishes,
  logOfEjabberd,
  startEjabberd,
  withoutEjabberd,
} from '../support/ejabberd.ts'
import { Internet } from '../support/federation.ts'
import { chat, presence } from '../support/stanzas.ts'

type Way = {
  readonly theirs?: Partial<EjabberdWishes>
  /** Whether our certificate is one that nobody vouches for. */
  readonly isSelfSigned?: boolean
}

const ways: Readonly<Record<string, Way>> = {
  certificates: { theirs: { starttls: 'required_trusted', dialback: false } },
  'certificates or dialback': {},
  'our certificate is not vouched for': { isSelfSigned: true },
}

for (const [way, { theirs, isSelfSigned = false }] of Object.entries(ways)) {
  test(`with ejabberd: ${way}`, { skip: withoutEjabberd }, async () => {
    await using internet = await Internet.start()
    const certificate = isSelfSigned
      ? makeDomainCertificate('capulet.example', undefined)
      : internet.certify('capulet.example')
    const capulet = await internet.server('capulet.example', { certificate })
    internet.locateByAddress('capulet.example', capulet)
    await using montague = await startEjabberd(internet, 'montague.example', ['romeo'], theirs)
    const juliet = await capulet.connect('juliet', 'balcony')
    const romeo = await montague.connect('romeo', 'orchard')
    try {
      await juliet.sends(chat(romeo.bareJid, 'Wherefore art thou Romeo?'))
      await romeo.receives({ from: juliet.fullJid, body: 'Wherefore art thou Romeo?' })
      await romeo.sends(chat(juliet.fullJid, 'Shall I hear more?'))
      await juliet.receives({ from: romeo.fullJid, body: 'Shall I hear more?' })
    } catch (error) {
      throw new Error(`${error}\n${await logOfEjabberd(montague)}`, { cause: error })
    }
  })

  test(`ejabberd begins: ${way}`, { skip: withoutEjabberd }, async () => {
    await using internet = await Internet.start()
    const certificate = isSelfSigned
      ? makeDomainCertificate('capulet.example', undefined)
      : internet.certify('capulet.example')
    const capulet = await internet.server('capulet.example', { certificate })
    internet.locateByAddress('capulet.example', capulet)
    await using montague = await startEjabberd(internet, 'montague.example', ['romeo'], theirs)
    const juliet = await capulet.connect('juliet', 'balcony')
    const romeo = await montague.connect('romeo', 'orchard')
    try {
      await romeo.sends(presence('subscribe', juliet.bareJid))
      await juliet.receives({ name: 'presence', type: 'subscribe', from: romeo.bareJid })
      await juliet.sends(presence('subscribed', romeo.bareJid))
      await romeo.receives({ name: 'presence', type: undefined, from: juliet.fullJid })

      const lines = Array.from({ length: 50 }, (_, line) => `line ${line}`)
      await juliet.sends(...lines.map((line) => chat(romeo.fullJid, line)))
      for (const body of lines) await romeo.receives({ body })
      await romeo.sends(...lines.map((line) => chat(juliet.fullJid, line)))
      for (const body of lines) await juliet.receivesNext({ body })
    } catch (error) {
      throw new Error(`${error}\n${await logOfEjabberd(montague)}`, { cause: error })
    }
  })
}
