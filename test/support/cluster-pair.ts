/** A cluster of the nodes `one` and `two`, and who is connected where. */
import { parseJid } from '../../src/xmpp/jid.ts'
import type { Client } from './client.ts'
import { TestCluster, until } from './cluster.ts'
import type { Settings, TestServer } from './server.ts'
import { connectResumable } from './stream-management.ts'

export type Pair = AsyncDisposable & {
  readonly cluster: TestCluster
  readonly one: TestServer
  readonly two: TestServer
}

export async function startPair(settings: Settings = {}): Promise<Pair> {
  await using stack = new AsyncDisposableStack()
  const cluster = stack.use(await TestCluster.start(settings))
  const [one, two] = [await cluster.node('one'), await cluster.node('two')]
  const kept = stack.move()
  return { cluster, one, two, [Symbol.asyncDispose]: () => kept.disposeAsync() }
}

/** Whether a node has heard that a resource is available. */
export const knows = (node: TestServer, jid: string) => () =>
  node.server.sessionManager.sessions.get(parseJid(jid))?.priority !== undefined

export type Apart = Pair & { readonly romeo: Client; readonly juliet: Client }

/** `id`: of her stream, `fullJid`: of her session. */
export type Resumable = Apart & { readonly id: string; readonly fullJid: string }

/** Romeo at `one`, which knows that Juliet is at `two`. */
export async function apart(settings: Settings = {}): Promise<Apart> {
  await using stack = new AsyncDisposableStack()
  const pair = stack.use(await startPair(settings))
  const romeo = await pair.one.connect('romeo', 'orchard')
  const juliet = await pair.two.connect('juliet', 'balcony')
  await until(knows(pair.one, juliet.fullJid))
  stack.move()
  return { ...pair, romeo, juliet }
}

/**
 * Romeo at `one`, and Juliet at the node of that name, with a session that she can resume by `id`; the
 * other node knows of it.
 */
export async function resumableAt(where: 'one' | 'two'): Promise<Resumable> {
  await using stack = new AsyncDisposableStack()
  const pair = stack.use(await startPair())
  const romeo = await pair.one.connect('romeo', 'orchard')
  const { client: juliet, id } = await connectResumable(pair[where], 'juliet', 'balcony')
  await juliet.becomesAvailable(0)
  const { fullJid } = juliet
  await until(knows(where === 'one' ? pair.two : pair.one, fullJid))
  stack.move()
  return { ...pair, romeo, juliet, id, fullJid }
}
