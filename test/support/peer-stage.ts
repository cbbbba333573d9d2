/** Our server, and another that answers as the test likes. */

import type { Client } from './client.ts'
import { Internet, type ServerWishes } from './federation.ts'
import { ListeningPeer } from './listening-peer.ts'
import type { TestServer } from './server.ts'
import { chat } from './stanzas.ts'

export type Stage = AsyncDisposable & {
  readonly internet: Internet
  readonly capulet: TestServer
  readonly juliet: Client
  /** Where DNS says that montague.example is. */
  readonly montague: ListeningPeer
  /** A certificate for it. */
  readonly shown: { readonly pem: string }
}

/** A server of ours with a user, and one of the test's own. */
export async function setStage(wishes: ServerWishes = {}): Promise<Stage> {
  const internet = await Internet.start()
  const capulet = await internet.server('capulet.example', wishes)
  const montague = await ListeningPeer.start('montague.example')
  const { host, port } = montague.address
  internet.locateAt('montague.example', host, port)
  return {
    internet,
    capulet,
    montague,
    juliet: await capulet.connect('juliet', 'balcony'),
    shown: internet.certify('montague.example'),
    async [Symbol.asyncDispose]() {
      await montague[Symbol.asyncDispose]()
      await internet[Symbol.asyncDispose]()
    },
  }
}

/** What makes our server connect. */
export const greeting = chat('romeo@montague.example', 'Wherefore art thou Romeo?')
