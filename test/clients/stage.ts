import { join } from 'node:path'
import type { ClientOptions, RealClient } from '../support/real-client.ts'
import { PASSWORD, type Settings, startServer } from '../support/server.ts'
import { SlixmppClient, withoutSlixmpp } from '../support/slixmpp.ts'
import { XmppJsClient } from '../support/xmpp-js.ts'

type Account = ClientOptions & { readonly tls: 'verified'; readonly ca: string }

export interface Stage extends AsyncDisposable {
  readonly domain: string
  readonly romeo: Account
  readonly juliet: Account
  /** The same account at the listener that has no TLS. */
  withoutTls(account: Account): ClientOptions & { readonly tls: 'none' }
  /** The same account at the listener with TLS from the first byte (XEP-0368). */
  overDirectTls(account: Account): ClientOptions
}

/** A server of ours with two accounts, reached by STARTTLS. */
export async function setStage(settings: Settings = {}): Promise<Stage> {
  const listen = [{ tls: 'starttls' }, { tls: 'none' }, { tls: 'direct' }]
  const server = await startServer({ listen, ...settings })
  const ca = join(server.directory, `${server.domain}.pem`)
  const account = async (localpart: string): Promise<Account> => {
    await server.createAccount(localpart)
    const jid = `${localpart}@${server.domain}`
    return { jid, password: PASSWORD, port: server.portOf(0), tls: 'verified', ca }
  }
  return {
    domain: server.domain,
    romeo: await account('romeo'),
    juliet: await account('juliet'),
    withoutTls: (account) => ({ ...account, port: server.portOf(1), tls: 'none' }),
    overDirectTls: (account) => ({ ...account, port: server.portOf(2), tls: 'direct' }),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

export interface Library {
  readonly name: string
  /** Why it cannot be used here. */
  readonly skip: string | false
  connect(options: Account): Promise<RealClient>
}

export const libraries: readonly Library[] = [
  { name: 'slixmpp', skip: withoutSlixmpp, connect: SlixmppClient.connect },
  { name: '@xmpp/client', skip: false, connect: XmppJsClient.connect },
]
