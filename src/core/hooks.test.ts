import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { DROP, Hooks, resultOf, Stop, stop } from './hooks.ts'
import { silentLogger } from './log.ts'

// A hook with a payload that is easy to follow: text that each handler adds to.
declare module './hook-map.ts' {
  interface HookMap {
    story: { readonly acc: string; readonly params: { readonly by: string } }
  }
}

const BY = { by: 'test' }

function setUp() {
  const failures: unknown[] = []
  const hooks = new Hooks({
    ...silentLogger,
    error: (_, fields) => void failures.push(fields?.handler),
  })
  return { hooks, failures, point: hooks.at('story') }
}

const adds = (text: string) => (acc: string) => acc + text
const addsLater = (text: string) => async (acc: string) => acc + text

test('handlers run by order, then as they were registered', () => {
  const { hooks, point } = setUp()
  hooks.on('story', adds('c'))
  hooks.on('story', adds('e'), { order: 90 })
  hooks.on('story', adds('d'))
  hooks.on('story', adds('a'), { order: 10 })
  hooks.on('story', adds('b'), { order: 10 })

  assert.equal(point.run('', BY), 'abcde')
})

test('a run without handlers gives back what it got', () => {
  const { hooks, point } = setUp()

  assert.equal(point.isEmpty, true)
  assert.equal(point.run('as it was', BY), 'as it was')
  assert.equal(point.runs, 0)

  hooks.on('story', adds(''))
  assert.equal(point.isEmpty, false)
})

test('a hook is one object, whoever asks, whenever', () => {
  const { hooks, point } = setUp()

  assert.equal(hooks.at('story'), point)
  hooks.on('story', adds('!'))
  assert.equal(hooks.at('story').run('', BY), '!')
  assert.notEqual(hooks.at('story', 'other'), point)
})

test('a promise comes only from a handler that gave one', async () => {
  const { hooks, point } = setUp()
  hooks.on('story', adds('a'))
  assert.equal(typeof point.run('', BY), 'string')

  hooks.on('story', addsLater('b'))
  hooks.on('story', adds('c'))
  const run = point.run('', BY)
  assert.ok(run instanceof Promise)
  assert.equal(await run, 'abc')
})

for (const when of ['at once', 'later'] as const) {
  const answer = <T>(value: T) => (when === 'later' ? Promise.resolve(value) : value)

  test(`a handler that stops ${when} has the last word`, async () => {
    const { hooks, point } = setUp()
    hooks.on('story', (acc) => answer(stop(`${acc}end`)))
    hooks.on('story', adds('never'))

    const verdict = await point.run('the ', BY)

    assert.ok(verdict instanceof Stop)
    assert.equal(verdict.acc, 'the end')
    assert.equal(resultOf(verdict, ''), 'the end')
  })

  test(`a handler that drops ${when} ends it`, async () => {
    const { hooks, point } = setUp()
    hooks.on('story', () => answer(DROP))
    hooks.on('story', adds('never'))

    const verdict = await point.run('', BY)

    assert.equal(verdict, DROP)
    assert.equal(resultOf(verdict, 'otherwise'), 'otherwise')
  })

  const fails = (error: Error) => (): Promise<string> => {
    if (when === 'later') return Promise.reject(error)
    throw error
  }

  test(`a handler that fails ${when} ends the run with its error`, async () => {
    const { hooks, point, failures } = setUp()
    hooks.on('story', fails(new Error('broken')), { by: 'culprit' })
    hooks.on('story', adds('never'))

    await assert.rejects(async () => point.run('', BY), /broken/)
    assert.deepEqual(failures, ['culprit'])
    assert.equal(hooks.all[0]?.failures, 1)
  })

  test(`a handler that may be skipped fails ${when}, and the next gets what it got`, async () => {
    const { hooks, point, failures } = setUp()
    hooks.on('story', adds('a'))
    hooks.on('story', fails(new Error('broken')), { onError: 'skip', by: 'culprit' })
    hooks.on('story', adds('b'))

    assert.equal(await point.run('', BY), 'ab')
    assert.deepEqual(failures, ['culprit'])
  })

  test(`a refusal ${when} is no failure, and is never skipped`, async () => {
    const { hooks, point, failures } = setUp()
    hooks.on('story', fails(new StanzaError('forbidden')), { onError: 'skip' })
    hooks.on('story', adds('never'))

    await assert.rejects(async () => point.run('', BY), { condition: 'forbidden' })
    assert.deepEqual(failures, [])
    assert.equal(hooks.all[0]?.failures, 0)
  })
}

test('what is told is told to all, and whoever fails changes nothing', async () => {
  const { hooks, failures, point } = setUp()
  const told: string[] = []
  hooks.on(
    'story',
    () => {
      throw new Error('at once')
    },
    { by: 'first', onError: 'skip' },
  )
  hooks.on('story', (acc) => {
    told.push(acc)
    return acc
  })
  hooks.on(
    'story',
    () => {
      throw new Error('at once, closed')
    },
    { by: 'second' },
  )
  assert.equal(point.tell('one', BY), undefined)
  hooks.on('story', () => Promise.reject(new StanzaError('bad-request')), { order: 1 })
  assert.equal(point.tell('two', BY), undefined)
  await new Promise((resolve) => setImmediate(resolve))

  assert.deepEqual(told, ['one'])
  assert.deepEqual(failures, ['first', 'second', undefined])
})

test('a handler that is taken back is not asked any more, but finishes what runs', async () => {
  const { hooks, point } = setUp()
  const { promise, resolve } = Promise.withResolvers<void>()
  hooks.on('story', async (acc) => {
    await promise
    return `${acc}a`
  })
  const undo = hooks.on('story', adds('b'))

  const run = point.run('', BY)
  undo()
  undo()
  resolve()

  assert.equal(await run, 'ab')
  assert.equal(await point.run('', BY), 'a')
})

test('a handler for one type of domains does not run for another', () => {
  const { hooks } = setUp()
  hooks.on('story', adds('all '))
  hooks.on('story', adds('public '), { scope: new Set(['public']) })

  assert.equal(hooks.at('story', 'public').run('', BY), 'all public ')
  assert.equal(hooks.at('story', 'internal').run('', BY), 'all ')
  // A global hook is of no type: whoever registered for it is told.
  assert.equal(hooks.at('story').run('', BY), 'all public ')
})

test('what a scope holds may change', () => {
  const { hooks } = setUp()
  const scope = new Set(['public'])
  const point = hooks.at('story', 'internal')
  hooks.on('story', adds('public '), { scope })
  assert.equal(point.isEmpty, true)

  scope.add('internal')
  hooks.refresh()
  assert.equal(point.run('', BY), 'public ')
})

test('of equal order, the lower rank runs first, whenever it came', () => {
  const { hooks, point } = setUp()
  hooks.on('story', adds('c'), { rank: 2 })
  hooks.on('story', adds('b'), { rank: 1 })
  hooks.on('story', adds('a'), { rank: 9, order: 10 })

  assert.equal(point.run('', BY), 'abc')
})

test('whoever takes handlers out can wait for the runs that have them', async () => {
  const { hooks, point } = setUp()
  const { promise, resolve } = Promise.withResolvers<string>()
  const off = hooks.on('story', () => promise)
  const run = point.run('', BY)
  off()
  const order: string[] = []
  const ended = hooks.underWay.ended().then(() => order.push('ended'))
  // What begins later is not waited for.
  hooks.on('story', () => new Promise<string>(() => {}))
  void point.run('', BY)
  order.push('resolved')
  resolve('at last')

  await ended
  assert.equal(await run, 'at last')
  assert.deepEqual(order, ['resolved', 'ended'])
})

test('runs are counted, by hook and by handler', async () => {
  const { hooks, point } = setUp()
  hooks.on('story', addsLater('a'), { by: 'first' })
  hooks.on('story', () => DROP, { by: 'second' })
  hooks.on('story', adds('c'), { by: 'third' })
  for (let i = 0; i < 3; i++) await point.run('', BY)

  assert.equal(point.runs, 3)
  assert.deepEqual(
    hooks.all.map(({ by, runs }) => `${by} ${runs}`),
    ['first 3', 'second 3', 'third 0'],
  )
})
