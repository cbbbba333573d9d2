/** Accounts with all that is kept of them, as a document of XEP-0227. */
import type { Account } from '../core/accounts.ts'
import { SCRAM_HASHES } from '../core/credentials.ts'
import { OWN_DATA_NS, PIE_NS, partOf, type UserDataPart } from '../core/user-data.ts'
import { formatDateTime } from '../xmpp/datetime.ts'
import type { BareJid } from '../xmpp/jid.ts'
import type { Octets } from '../xmpp/octets.ts'
import { type Element, el, escapeAttribute } from '../xmpp/xml.ts'
import { SCRAM_NS } from './import.ts'

export interface ExportSource {
  find(account: BareJid): Promise<Account | undefined>
  parts(account: BareJid): Promise<readonly UserDataPart[]>
}

export type ExportOptions = {
  readonly source: ExportSource
  /** Those of one domain after the other. */
  readonly accounts: AsyncIterable<BareJid>
  readonly withKeys: boolean
  /** Once an account is written. */
  readonly onUser: () => void
}

/** The document in pieces; no more of it is in memory than one page of an archive. */
export async function* serverData(options: ExportOptions): AsyncGenerator<Octets> {
  yield `<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='${PIE_NS}'>\n` as Octets
  let domain = ''
  for await (const account of options.accounts) {
    const found = await options.source.find(account)
    // It was removed meanwhile.
    if (found === undefined) continue
    if (account.domain !== domain) {
      if (domain !== '') yield '</host>\n' as Octets
      domain = account.domain
      yield `<host jid='${escapeAttribute(domain)}'>\n` as Octets
    }
    yield* user(found, options)
    options.onUser()
  }
  yield `${domain === '' ? '' : '</host>\n'}</server-data>\n` as Octets
}

async function* user(
  account: Account,
  { source, withKeys }: ExportOptions,
): AsyncGenerator<Octets> {
  const { jid, createdAt, isDisabled } = account
  yield `<user name='${escapeAttribute(jid.local)}'>\n` as Octets
  const about = { created: formatDateTime(createdAt), disabled: isDisabled || undefined }
  yield* partOf(el('account', { xmlns: OWN_DATA_NS, ...about }), ...(withKeys ? keys(account) : []))
  for (const part of await source.parts(jid)) {
    yield '\n' as Octets
    yield* part
  }
  yield '\n</user>\n' as Octets
}

/** XEP-0227 §4.3. */
function keys({ credentials }: Account): Element[] {
  const base64 = (octets: Uint8Array) => Buffer.from(octets).toString('base64')
  return SCRAM_HASHES.flatMap((hash) => {
    const of = credentials[hash]
    if (of === undefined) return []
    return el(
      'scram-credentials',
      { xmlns: SCRAM_NS, mechanism: `SCRAM-${hash}` },
      el('iter-count', {}, String(of.iterations)),
      el('salt', {}, base64(of.salt)),
      el('server-key', {}, base64(of.serverKey)),
      el('stored-key', {}, base64(of.storedKey)),
    )
  })
}
