import type { Answer, Cluster, Question, Topic } from './cluster.ts'

export type Everywhere<T> = {
  /** This node's first. */
  readonly answers: readonly { readonly node: string; readonly epoch: number; readonly answer: T }[]
  /** Nodes that did not answer in time, or do not know the question. */
  readonly silent: readonly string[]
}

/** How long a node may take, milliseconds. */
const PATIENCE = 2_000

/** Asks all nodes that are not gone the same, or those that are `meant`. Does not reject. */
export async function askEverywhere<T extends Topic>(
  cluster: Pick<Cluster, 'nodes' | 'ask'>,
  topic: T,
  question: Question<T>,
  isMeant: (node: string) => boolean = () => true,
): Promise<Everywhere<Answer<T>>> {
  const meant = cluster.nodes
    .filter(({ node, state }) => state !== 'gone' && isMeant(node))
    .sort((a, b) => Number(b.isSelf) - Number(a.isSelf))
  const asked = meant.map(async ({ node, epoch }) => {
    const answer = await inTime(cluster.ask(node, topic, question))
    return answer === undefined ? node : { node, epoch, answer }
  })
  const all = await Promise.all(asked)
  return {
    answers: all.filter((each) => typeof each !== 'string'),
    silent: all.filter((each) => typeof each === 'string'),
  }
}

/** `undefined` for what fails, or comes too late. */
function inTime<T>(answer: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, PATIENCE, undefined)
    const done = (value: T | undefined) => {
      clearTimeout(timer)
      resolve(value)
    }
    answer.then(done, () => done(undefined))
  })
}
