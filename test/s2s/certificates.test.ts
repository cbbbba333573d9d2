/** Certificates that prove nothing, shown by other programs' servers and to them. */
import { test } from 'node:test'
import type { Credential } from '../../src/connection/certificate.ts'
import { makeDomainCertificate } from '../support/certificates.ts'
import { startEjabberd, withoutEjabberd } from '../support/ejabberd.ts'
import { Internet } from '../support/federation.ts'
import { startProsody, withoutProsody } from '../support/prosody.ts'
import { chat } from '../support/stanzas.ts'

const OURS = 'capulet.example'
const THEIRS = 'montague.example'

const bad: Readonly<Record<string, (internet: Internet, domain: string) => Credential>> = {
  'of its own word only': (_internet, domain) => makeDomainCertificate(domain, undefined),
  'for another domain': (internet) => internet.certify('mercutio.example'),
  'that has ended': (internet, domain) =>
    internet.certify(domain, { from: 0, until: Date.now() - 60_000 }),
}

/** All of them want certificates. */
const programs = {
  Prosody: {
    skip: withoutProsody,
    start: (internet: Internet, certificate?: Credential) =>
      startProsody(internet, THEIRS, ['romeo'], {
        dialback: false,
        ...(certificate && { certificate }),
      }),
  },
  ejabberd: {
    skip: withoutEjabberd,
    start: (internet: Internet, certificate?: Credential) =>
      startEjabberd(internet, THEIRS, ['romeo'], {
        dialback: false,
        starttls: 'required_trusted',
        ...(certificate && { certificate }),
      }),
  },
} as const

for (const [program, { skip, start }] of Object.entries(programs)) {
  for (const [what, make] of Object.entries(bad)) {
    for (const [whose, domain] of [
      ['theirs', THEIRS],
      ['ours', OURS],
    ] as const) {
      test(`${program}: a certificate ${what}: ${whose}`, { skip }, async () => {
        await using internet = await Internet.start()
        const certificate = make(internet, domain)
        const isOurs = domain === OURS
        const capulet = await internet.server(OURS, isOurs ? { certificate } : {})
        internet.locateByAddress(OURS, capulet)
        await using montague = await start(internet, isOurs ? undefined : certificate)
        const juliet = await capulet.connect('juliet', 'balcony')
        const romeo = await montague.connect('romeo', 'orchard')

        await juliet.sends(chat(romeo.bareJid, 'Wherefore art thou Romeo?'))
        await juliet.receives({ error: 'remote-server-timeout' })
        await romeo.sends(chat(juliet.bareJid, 'Shall I hear more?'))
        await romeo.receives({ type: 'error', from: juliet.bareJid })

        await juliet.receivesNothing()
        await romeo.receivesNothing()
      })
    }
  }
}
