import assert from 'node:assert/strict'
import { test } from 'node:test'
import { jid } from '../xmpp/jid.ts'
import { PasswordGuesses } from './password-guesses.ts'

const romeo = jid('romeo', 'example.com').toBare()
const juliet = jid('juliet', 'example.com').toBare()
const HOME = '192.0.2.1'
const WORK = '198.51.100.7'

function guesses(limits = { perAccount: 3, perAddress: 5, window: 100 }, maxRemembered = 100) {
  const clock = { at: 0 }
  const all = new PasswordGuesses({ limits, maxRemembered, now: () => clock.at })
  /** Where nothing is being compared, so that there is nothing to wait for. */
  const begin = (account: typeof romeo, address: string) => {
    const guess = all.begin(account, address)
    assert.ok(!(guess instanceof Promise))
    return guess
  }
  return {
    clock,
    limits,
    wrong(account: typeof romeo, address: string) {
      const guess = begin(account, address)
      guess?.wrong()
      return guess !== undefined
    },
    right(account: typeof romeo, address: string) {
      const guess = begin(account, address)
      guess?.right()
      return guess !== undefined
    },
    begin: async (account: typeof romeo, address: string) => await all.begin(account, address),
  }
}

test('an account takes so many wrong passwords, wherever they come from, until the window ends', () => {
  const { wrong, right, clock } = guesses()
  assert.deepEqual(
    [1, 2, 3, 4].map((each) => wrong(romeo, `192.0.2.${each}`)),
    [true, true, true, false],
  )
  assert.equal(right(romeo, HOME), false)
  assert.equal(wrong(juliet, HOME), true)
  clock.at = 100
  assert.equal(right(romeo, HOME), true)
})

test('who has logged in from somewhere is not locked out there by others', () => {
  const { wrong, right } = guesses()
  assert.equal(right(romeo, HOME), true)
  while (wrong(romeo, WORK));
  assert.equal(right(romeo, WORK), false)
  for (let i = 0; i < 10; i++) assert.equal(right(romeo, HOME), true)
  assert.deepEqual(
    [1, 2, 3, 4].map(() => wrong(romeo, HOME)),
    [true, true, true, false],
  )
})

test('one network takes so many wrong passwords, for whatever accounts', () => {
  const { wrong, right } = guesses()
  const tried = [1, 2, 3, 4, 5, 6].map((each) =>
    wrong(jid(`user${each}`, 'example.com').toBare(), `2001:db8:1:2::${each}`),
  )
  assert.deepEqual(tried, [true, true, true, true, true, false])
  assert.equal(right(juliet, '2001:db8:1:2::ffff'), false)
  assert.equal(right(juliet, '2001:db8:1:3::1'), true)
})

test('who is known there may go on where others have used up what the network has', () => {
  const { wrong, right } = guesses()
  assert.equal(right(juliet, HOME), true)
  for (let i = 0; i < 5; i++) wrong(jid(`user${i}`, 'example.com').toBare(), HOME)
  assert.equal(right(romeo, HOME), false)
  assert.equal(right(juliet, HOME), true)
})

test('however many try at the same time: all right ones get in', async () => {
  const { begin } = guesses()
  let compared = 0
  const tries = Array.from({ length: 40 }, async () => {
    const guess = await begin(romeo, HOME)
    assert.ok(guess !== undefined)
    assert.ok(++compared <= 3)
    await new Promise((resolve) => setImmediate(resolve))
    compared--
    guess.right()
  })
  await Promise.all(tries)
})

test('and of wrong ones no more than one after the other', async () => {
  const { begin } = guesses()
  const tries = Array.from({ length: 40 }, async (_, n) => {
    const guess = await begin(romeo, HOME)
    await new Promise((resolve) => setImmediate(resolve))
    if (n % 2 === 0) guess?.wrong()
    else guess?.undecided()
    return guess !== undefined && n % 2 === 0
  })
  const wrong = await Promise.all(tries)
  assert.equal(wrong.filter(Boolean).length, 3)
  assert.equal(await begin(romeo, HOME), undefined)
})

test('nor from one network, for however many accounts', async () => {
  const { begin } = guesses()
  const tries = Array.from({ length: 40 }, async (_, n) => {
    const guess = await begin(jid(`user${n}`, 'example.com').toBare(), HOME)
    await new Promise((resolve) => setImmediate(resolve))
    guess?.wrong()
    return guess !== undefined
  })
  const compared = await Promise.all(tries)
  assert.equal(compared.filter(Boolean).length, 5)
})

test('however many of one network log in at the same time: all get in', async () => {
  const { begin } = guesses()
  const tries = Array.from({ length: 40 }, async (_, n) => {
    const guess = await begin(jid(`user${n % 8}`, 'example.com').toBare(), HOME)
    await new Promise((resolve) => setImmediate(resolve))
    guess?.right()
    return guess !== undefined
  })
  assert.ok((await Promise.all(tries)).every(Boolean))
})

test('limits change while it works, and memory has a bound', () => {
  const limits = { perAccount: 1, perAddress: 1_000, window: 100 }
  const { wrong, right } = guesses(limits, 10)
  for (let i = 0; i < 500; i++)
    assert.equal(wrong(jid(`u${i}`, 'example.com').toBare(), HOME), true)
  // All but the last ten are forgotten.
  assert.equal(wrong(jid('u0', 'example.com').toBare(), HOME), true)
  assert.equal(wrong(jid('u499', 'example.com').toBare(), HOME), false)
  limits.perAccount = 2
  assert.equal(right(jid('u499', 'example.com').toBare(), HOME), true)
})

test('an account is known in several networks, in the sixteen of its last logins', () => {
  const { wrong, right } = guesses({ perAccount: 3, perAddress: 100, window: 100 })
  const network = (n: number) => `192.0.${n}.1`
  for (let n = 0; n < 17; n++) assert.equal(right(romeo, network(n)), true)
  for (let n = 1; n < 17; n++) assert.equal(right(romeo, network(n)), true)
  while (wrong(romeo, WORK));
  assert.equal(right(romeo, network(0)), false)
  for (let n = 1; n < 17; n++) assert.equal(right(romeo, network(n)), true)
  assert.equal(right(juliet, network(1)), true)
})
