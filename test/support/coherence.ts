import { Coherence } from '../../src/core/coherence.ts'

/** What nodes that hear each other at once keep alike: one for each call. */
export function coherentNodes(name: string): () => Coherence {
  const heard: ((account: string) => unknown)[] = []
  const nodes = {
    isShared: true,
    tell: async (_: string, account: string) => void heard.map((hear) => hear(account)),
    exclusively: <R>(_: string, work: () => Promise<R>) => work(),
    on: (_: string, hear: (account: string) => unknown) => void heard.push(hear),
  }
  return () => new Coherence(nodes as never, name)
}
