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

test('a cluster loses nothing, and agrees again on who is where, whatever happens', async () => {
  const seeds = Array.from({ length: HISTORIES }, (_, index) => FIRST + index)
  const once = [DISPLACED, LATE, OVERTAKEN, FORGOTTEN, CROSSED, DROPPED].flat()
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

test('two sessions of an account that change places at once do not wait for each other', async () => {
  const [nodes, clients] = [['one', 'two'] as const, ['juliet/a', 'juliet/b', 'romeo/a'] as const]
  const happenings: Happening[] = [
    { at: 100, what: 'open', client: 'juliet/a', node: 'one' },
    { at: 100, what: 'open', client: 'juliet/b', node: 'two' },
    { at: 100, what: 'open', client: 'romeo/a', node: 'one' },
    { at: 1_000, what: 'detach', client: 'juliet/a' },
    { at: 1_000, what: 'detach', client: 'juliet/b' },
    { at: 2_000, what: 'send', client: 'romeo/a', to: 'juliet', count: 2 },
    { at: 3_000, what: 'open', client: 'juliet/a', node: 'two' },
    { at: 3_000, what: 'open', client: 'juliet/b', node: 'one' },
  ]
  for (let seed = 1; seed <= 5; seed++) {
    const { breaches, log } = await play({ seed, nodes, clients, happenings }, { isLogged: true })
    assert.deepEqual([...breaches], [])
    const bound = log.filter((line) => line.includes('juliet') && line.includes('is bound'))
    assert.equal(bound.length, 4)
    for (const line of bound) assert.ok(Number.parseFloat(line) < 5_000, line)
  }
})
