import assert from 'node:assert/strict'
import { test } from 'node:test'
import { play } from './history.ts'
import { type Happening, makePlan } from './plan.ts'

/** Always the same, so that whoever changes something sees what it has changed. */
const FIRST = 1
const HISTORIES = 300
/** Failed once, when no client came back for its session. */
const FAILED = [
  3757, 1000318, 1006524, 10012297, 10030155, 10037758, 20000818, 20003784, 20027991, 30005913,
]
/** A session from the disk took the place of a newer one, whose client nobody knew from then on. */
const DISPLACED = [834, 1082, 1322, 1832, 2035, 2151, 2387, 2951]
/** A run that was paused, and then wrote what others had taken over from it. */
const LATE = [8030550]
/** What the registry answered was older than what it had shown by then. */
const OVERTAKEN = [43018150]
/** The registry lost the rows of a node that was cut off before it had written them again. */
const FORGOTTEN = [46011087]
/** Two sessions of an account were replaced at once, and what they gave back waited for each other. */
const CROSSED = [77015464, 91023760]
/** A node died with a session in its hands that was on its way to it. */
const DROPPED = [77004018]
/** A session that was over kept a copy of what it did not take, for ever. */
const ABANDONED = [302003391]
/** A session went to a node that died, and what others had as well had been taken for arrived. */
const ALONE = [401002731]
/** A node that started waited for one that waited for it. */
const WAITING = [405013001]

test('a cluster loses nothing, and agrees again on who is where, whatever happens', async () => {
  const seeds = Array.from({ length: HISTORIES }, (_, index) => FIRST + index)
  const once = [
    DISPLACED,
    LATE,
    OVERTAKEN,
    FORGOTTEN,
    CROSSED,
    DROPPED,
    ABANDONED,
    ALONE,
    WAITING,
  ].flat()
  for (const seed of [...seeds, ...once]) {
    const { breaches } = await play(makePlan(seed))
    assert.deepEqual([...breaches], [], `npm run test:simulation -- --seed ${seed} --histories 1`)
  }
  for (const seed of FAILED) {
    const { breaches } = await play(makePlan(seed, false))
    assert.deepEqual([...breaches], [], `seed ${seed} without resumption`)
  }
})

test('the same seed is the same history', async () => {
  const plan = makePlan(7)
  const [one, other] = [await play(plan, { isLogged: true }), await play(plan, { isLogged: true })]
  assert.ok(one.log.length > 20)
  assert.deepEqual(one.log, other.log)
})

/** Two clients of an account come to other nodes at once; `messages` were sent to their sessions before. */
async function changeNodes(
  seed: number,
  [a, b]: readonly [string, string],
  messages: readonly Happening[],
) {
  const nodes = ['one', 'two', 'three']
  const clients = ['juliet/a', 'juliet/b', 'romeo/a']
  const happenings: Happening[] = [
    { at: 100, what: 'open', client: 'juliet/a', node: 'one' },
    { at: 100, what: 'open', client: 'juliet/b', node: 'two' },
    { at: 100, what: 'open', client: 'romeo/a', node: 'one' },
    { at: 1_000, what: 'detach', client: 'juliet/a' },
    { at: 1_000, what: 'detach', client: 'juliet/b' },
    ...messages,
    { at: 3_000, what: 'open', client: 'juliet/a', node: a },
    { at: 3_000, what: 'open', client: 'juliet/b', node: b },
  ]
  const { breaches, log } = await play({ seed, nodes, clients, happenings }, { isLogged: true })
  assert.deepEqual([...breaches], [])
  // All is over long before the next happening.
  const late = log.filter(
    (line) => Number.parseFloat(line) > 4_500 && / (is bound|decided|writes) /.test(line),
  )
  assert.deepEqual(late, [], `seed ${seed}`)
}

test('two sessions of an account that change places at once do not wait for each other', async () => {
  const messages = [{ at: 2_000, what: 'send', client: 'romeo/a', to: 'juliet', count: 2 }] as const
  for (let seed = 1; seed <= 5; seed++) await changeNodes(seed, ['two', 'one'], messages)
})

test('nor does what they give back', async () => {
  const messages = ['juliet/a', 'juliet/b'].map(
    (to, index) => ({ at: 2_000 + index, what: 'send', client: 'romeo/a', to, count: 2 }) as const,
  )
  for (let seed = 1; seed <= 30; seed++) await changeNodes(seed, ['three', 'three'], messages)
})

test('what a lost node had not written is decided about by who handed it over', async () => {
  const [nodes, clients] = [['one', 'two'] as const, ['juliet/a', 'romeo/a'] as const]
  for (let seed = 1; seed <= 10; seed++) {
    const happenings: Happening[] = [
      { at: 100, what: 'open', client: 'juliet/a', node: 'two' },
      { at: 100, what: 'open', client: 'romeo/a', node: 'one' },
      { at: 1_000, what: 'detach', client: 'juliet/a' },
      // Its session is on the disk with what it has in its hands, before that is.
      { at: 2_000, what: 'send', client: 'romeo/a', to: 'juliet', count: 2 },
      { at: 2_010 + 3 * seed, what: 'crash', node: 'two', ms: 20_000 },
      { at: 9_000, what: 'open', client: 'juliet/a', node: 'one' },
    ]
    const { breaches } = await play({ seed, nodes, clients, happenings })
    assert.deepEqual([...breaches], [])
  }
})
