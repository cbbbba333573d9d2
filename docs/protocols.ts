/** The page of specifications: what the modules say they implement, and what the core does. */

import { markdownTable } from '../src/core/markdown.ts'
import { anchorOf } from '../tools/site/anchors.ts'

type Implementing = { readonly name: string; readonly implements: readonly string[] }

type Core = {
  /** As modules say it: with the version followed, where there are versions. */
  readonly specification: string
  /** Where it is done; says so itself. */
  readonly file: string
  readonly note?: string
}

/** What no module can do, for it is about connections, streams and addresses. */
export const core: readonly Core[] = [
  { specification: 'RFC 6120', file: 'src/c2s/stream.ts' },
  { specification: 'RFC 6121', file: 'src/core/server-rules.ts', note: 'delivery (§8)' },
  { specification: 'RFC 7622', file: 'src/xmpp/jid.ts' },
  { specification: 'RFC 8264', file: 'src/xmpp/precis.ts' },
  { specification: 'RFC 8265', file: 'src/xmpp/precis.ts' },
  { specification: 'RFC 7590', file: 'src/connection/tls.ts' },
  { specification: 'RFC 9325', file: 'src/connection/tls.ts' },
  { specification: 'RFC 9525', file: 'src/connection/server-identity.ts' },
  { specification: 'RFC 4616', file: 'src/c2s/sasl/plain.ts' },
  { specification: 'RFC 5802', file: 'src/c2s/sasl/scram.ts' },
  { specification: 'RFC 7677', file: 'src/c2s/sasl/scram.ts' },
  { specification: 'RFC 9266', file: 'src/c2s/sasl/channel-binding.ts' },
  { specification: 'RFC 5929', file: 'src/c2s/sasl/channel-binding.ts', note: 'server end point' },
  { specification: 'XEP-0004 2.13.2', file: 'src/xmpp/data-form.ts' },
  { specification: 'XEP-0059 1.0', file: 'src/xmpp/rsm.ts' },
  { specification: 'XEP-0068 1.3.0', file: 'src/xmpp/data-form.ts' },
  { specification: 'XEP-0082 1.1.1', file: 'src/xmpp/datetime.ts' },
  { specification: 'XEP-0114 1.6', file: 'src/component/stream.ts' },
  { specification: 'XEP-0122 1.0.2', file: 'src/xmpp/data-form.ts' },
  {
    specification: 'XEP-0133 1.3.1',
    file: 'src/admin/adhoc/service-administration.ts',
  },
  { specification: 'XEP-0178 1.2', file: 'src/s2s/incoming-stream.ts', note: 'between servers' },
  { specification: 'XEP-0185 1.0', file: 'src/s2s/dialback.ts' },
  { specification: 'XEP-0198 1.6.3', file: 'src/s2s/traffic.ts', note: 'between servers' },
  { specification: 'XEP-0220 1.1.1', file: 'src/s2s/dialback.ts' },
  { specification: 'XEP-0288 1.0.1', file: 'src/s2s/outgoing-stream.ts' },
  { specification: 'XEP-0297 1.0', file: 'src/xmpp/forward.ts' },
  { specification: 'XEP-0344 0.4', file: 'src/s2s/proofs.ts', note: '§3.2' },
  { specification: 'XEP-0368 1.1.0', file: 'src/s2s/targets.ts' },
  { specification: 'XEP-0440 1.0.0', file: 'src/c2s/sasl/channel-binding.ts' },
  { specification: 'XEP-0474 0.5.0', file: 'src/c2s/sasl/scram.ts' },
  { specification: 'XEP-0478 0.2.0', file: 'src/c2s/stream.ts' },
]

const titles: Readonly<Record<string, string>> = {
  'RFC 4616': 'SASL PLAIN',
  'RFC 5802': 'SCRAM-SHA-1',
  'RFC 5929': 'Channel Bindings for TLS',
  'RFC 6120': 'XMPP: Core',
  'RFC 6121': 'XMPP: Instant Messaging and Presence',
  'RFC 7590': 'Use of TLS in XMPP',
  'RFC 7622': 'XMPP: Address Format',
  'RFC 7677': 'SCRAM-SHA-256',
  'RFC 8264': 'PRECIS',
  'RFC 8265': 'PRECIS: Usernames and Passwords',
  'RFC 9266': 'Channel Bindings for TLS 1.3',
  'RFC 9325': 'Recommendations for Secure Use of TLS',
  'RFC 9525': 'Service Identity in TLS',
  'XEP-0004': 'Data Forms',
  'XEP-0012': 'Last Activity',
  'XEP-0016': 'Privacy Lists',
  'XEP-0030': 'Service Discovery',
  'XEP-0049': 'Private XML Storage',
  'XEP-0050': 'Ad-Hoc Commands',
  'XEP-0054': 'vcard-temp',
  'XEP-0059': 'Result Set Management',
  'XEP-0068': 'Field Standardization for Data Forms',
  'XEP-0077': 'In-Band Registration',
  'XEP-0082': 'Date and Time Profiles',
  'XEP-0092': 'Software Version',
  'XEP-0114': 'Jabber Component Protocol',
  'XEP-0115': 'Entity Capabilities',
  'XEP-0122': 'Data Forms Validation',
  'XEP-0128': 'Service Discovery Extensions',
  'XEP-0133': 'Service Administration',
  'XEP-0157': 'Contact Addresses for XMPP Services',
  'XEP-0160': 'Handling Offline Messages',
  'XEP-0175': 'Use of SASL ANONYMOUS',
  'XEP-0178': 'Use of SASL EXTERNAL with Certificates',
  'XEP-0185': 'Dialback Key Generation and Validation',
  'XEP-0191': 'Blocking Command',
  'XEP-0198': 'Stream Management',
  'XEP-0199': 'XMPP Ping',
  'XEP-0202': 'Entity Time',
  'XEP-0203': 'Delayed Delivery',
  'XEP-0220': 'Server Dialback',
  'XEP-0227': 'Portable Import/Export Format',
  'XEP-0237': 'Roster Versioning',
  'XEP-0280': 'Message Carbons',
  'XEP-0288': 'Bidirectional Server-to-Server Connections',
  'XEP-0297': 'Stanza Forwarding',
  'XEP-0313': 'Message Archive Management',
  'XEP-0334': 'Message Processing Hints',
  'XEP-0344': 'Impact of TLS and DNSSEC on Dialback',
  'XEP-0352': 'Client State Indication',
  'XEP-0355': 'Namespace Delegation',
  'XEP-0356': 'Privileged Entity',
  'XEP-0359': 'Unique and Stable Stanza IDs',
  'XEP-0368': 'SRV Records for XMPP over TLS',
  'XEP-0377': 'Blocking Command Reports',
  'XEP-0424': 'Message Retraction',
  'XEP-0431': 'Full Text Search in MAM',
  'XEP-0440': 'SASL Channel-Binding Type Capability',
  'XEP-0441': 'MAM Preferences',
  'XEP-0474': 'SASL SCRAM Downgrade Protection',
  'XEP-0478': 'Stream Limits Advertisement',
}

type Row = { readonly specification: string; readonly where: string[] }

/** `docs/protocols.md`. Throws where a specification has no title here, or two versions. */
export function protocolsPage(modules: readonly Implementing[]): string {
  const rows = new Map<string, Row>()
  const add = (specification: string, where: string) => {
    const name = nameOf(specification)
    const row = rows.get(name) ?? { specification, where: [] }
    if (row.specification !== specification) {
      throw new Error(`two versions: ${row.specification}, ${specification}`)
    }
    row.where.push(where)
    rows.set(name, row)
  }
  for (const { specification, file, note } of core) {
    add(specification, `[${file}](../${file})${note === undefined ? '' : `: ${note}`}`)
  }
  for (const module of modules) {
    for (const each of module.implements) add(each, settingsOf(module))
  }
  const sorted = [...rows].sort(([a], [b]) => (a < b ? -1 : 1))
  const rowsOf = (kind: string) =>
    sorted.filter(([name]) => name.startsWith(kind)).map(([name, row]) => cellsOf(name, row))
  return `# Protocols

<!-- Written by \`npm run docs\` from what the code says it implements. -->

What Meerkat implements, in which version, and where. A module that is switched off takes what it
implements along: clients are told, by service discovery, what there is.

## XMPP Extension Protocols

${markdownTable(['XEP', 'Title', 'Version', 'Where'], rowsOf('XEP'))}

## RFCs

${markdownTable(['RFC', 'Title', 'Where'], rowsOf('RFC'))}
`
}

function cellsOf(name: string, { specification, where }: Row): string[] {
  const title = titles[name]
  if (title === undefined) throw new Error(`${name} has no title in docs/protocols.ts`)
  const [kind, number = ''] = name.split(/[ -]/)
  const places = where.join('<br>')
  if (kind === 'RFC') {
    return [`[${number}](https://www.rfc-editor.org/rfc/rfc${number})`, title, places]
  }
  const version = specification.slice(name.length + 1)
  return [`[${number}](https://xmpp.org/extensions/xep-${number}.html)`, title, version, places]
}

/** Without the version. */
function nameOf(specification: string): string {
  return specification.split(' ', specification.startsWith('RFC') ? 2 : 1).join(' ')
}

function settingsOf({ name }: Implementing): string {
  return `module [${name}](configuration.md#${anchorOf(`[modules.${name}]`)})`
}
