/**
 * The admin page in a real browser. `SCREENSHOTS=directory` keeps pictures of each view, for people to
 * look at.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import axe from 'axe-core'
import type { Page } from 'playwright-core'
import { tokenFor } from '../support/api.ts'
import { Browser, skipWithoutBrowser } from '../support/browser.ts'
import type { Client } from '../support/client.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'
import { DOMAIN, OTHER } from './cases.ts'

const VIEWS = ['Route', 'Trace', 'Sessions', 'Connections', 'Accounts', 'Modules']
const SIZES = {
  phone: { width: 320, height: 640 },
  desktop: { width: 1280, height: 800 },
} as const
const pictures = process.env.SCREENSHOTS

/** What a screen reader calls it, more or less. */
const NAME_OF_FOCUSED = `(() => {
  const { activeElement: one } = document
  const label = one.labels?.[0]?.childNodes[0]?.textContent
  const text = one.matches('main') ? 'main' : one.textContent
  return (one.getAttribute('aria-label') ?? label ?? text).trim()
})()`
/** Of what is pressed, where they do not fit into a line. */
const BROKEN_NAMES = `[...document.querySelectorAll('nav a, button')].filter((one) => {
  const range = document.createRange()
  range.selectNodeContents(one)
  return new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size > 1
}).map((one) => one.textContent).join(', ')`
const IS_IN_DIALOG =
  "document.activeElement === document.body || document.activeElement.closest('dialog') !== null"

describe('the admin page', { skip: skipWithoutBrowser }, () => {
  let server: TestServer
  let browser: Browser
  let page: Page
  let alice: Client
  let bob: Client

  before(async () => {
    server = await startServer({ domains: [DOMAIN, OTHER], http: {}, component: {} })
    ;[browser, alice, bob] = await Promise.all([
      Browser.open(),
      server.connect('alice', 'phone'),
      server.connect('bob', 'desk'),
    ])
    page = browser.page
  })
  after(async () => {
    await browser[Symbol.asyncDispose]()
    await server[Symbol.asyncDispose]()
  })

  const logIn = async (token: string) => {
    await page.getByLabel('Token').fill(token)
    await page.getByRole('button', { name: 'Log in' }).click()
  }
  const opens = async (name: string) => {
    await page.getByRole('link', { name, exact: true }).click()
    await page.getByRole('heading', { level: 1, name }).waitFor()
  }
  const isShown = (text: string) => page.getByText(text).first().waitFor()
  const dialog = () => page.getByRole('dialog')
  const row = (name: string) => page.getByRole('row').filter({ hasText: name })

  test('lets nobody in with a wrong token, and complains of nothing else', async () => {
    await page.goto(`${server.urlOf()}/admin`)
    assert.equal(page.url(), `${server.urlOf()}/admin/`)
    await logIn('meerkat_000000000000.x')
    await isShown('This token is not good.')
    // The browser tells of each answer that is an error.
    assert.deepEqual(
      browser.complaints.splice(0).filter((text) => !text.includes('401')),
      [],
    )
  })

  test('shows the route as stanzas pass', async () => {
    await logIn(await tokenFor(server, 'admin'))
    await page.getByRole('heading', { level: 1, name: 'Route' }).waitFor()
    await isShown('Live.')
    const delivered = page.getByRole('row').filter({ hasText: 'delivered' }).first()
    const stage = page.getByRole('group', { name: 'Clients in' })
    await stage.waitFor()
    const before = Number.parseInt((await stage.locator('.total').textContent()) ?? '', 10)
    for (let i = 0; i < 5; i++) alice.send(chat(bob.bareJid, `message ${i}`))
    await stage.getByText(`${before + 5} in all`).waitFor()
    await delivered.waitFor()
  })

  test('shows the steps of a message, and what is in it only if asked', async () => {
    await opens('Trace')
    await page.getByLabel('Account, resource or domain').fill(alice.bareJid)
    await page.getByRole('button', { name: 'Follow' }).click()
    await isShown(`Following ${alice.bareJid}`)
    alice.send(chat(bob.bareJid, 'But soft'))
    const first = page.locator('.trace summary').first()
    await first.getByText('delivered by sm').waitFor()
    await first.click()
    await page.getByRole('cell', { name: 'route localdomain' }).waitFor()
    // What one step causes is set in.
    const cells = "document.querySelectorAll('.steps td:first-child')"
    const indents = await page.evaluate<string[]>(
      `Array.from(${cells}, (cell) => getComputedStyle(cell).paddingLeft)`,
    )
    assert.ok(indents.includes('8px') && indents.includes('20px'), indents.join())
    assert.equal(await page.getByText('But soft').count(), 0)
    await page.getByLabel('Show what is in messages').check()
    await page.getByRole('button', { name: 'Follow' }).click()
    await isShown(`Following ${alice.bareJid}`)
    alice.send(chat(bob.bareJid, 'what light <img src=x onerror=alert(1)>'))
    await first.click()
    await isShown('what light')
  })

  test('ends a session', async () => {
    await opens('Sessions')
    const carol = await server.connect('carol', 'tablet')
    await page.getByLabel('Search').fill('CAROL')
    await row(carol.fullJid).waitFor()
    await row(alice.fullJid).waitFor({ state: 'detached' })
    await page.getByRole('button', { name: `End the session ${carol.fullJid}` }).click()
    await dialog().getByRole('button', { name: 'End session' }).click()
    await carol.receivesStreamError('policy-violation')
    await row(carol.fullJid).waitFor({ state: 'detached' })
  })

  test('shows nodes and components', async () => {
    const component = await server.connectComponent('gateway.example.net')
    await opens('Connections')
    await row('gateway.example.net').waitFor()
    await row('local (this one)').waitFor()
    await isShown('No connections to other servers.')
    await component.leaves()
    await row('gateway.example.net').waitFor({ state: 'detached' })
  })

  test('registers, changes and removes accounts', async () => {
    await opens('Accounts')
    await page.getByRole('button', { name: 'Register an account' }).click()
    await dialog().getByLabel('Account').fill(alice.bareJid)
    await dialog().getByLabel('Password').fill('secret')
    await dialog().getByRole('button', { name: 'Register' }).click()
    await isShown('exists already')
    const nurse = `nurse@${DOMAIN}`
    await dialog().getByLabel('Account').fill(nurse)
    await dialog().getByLabel('Password').fill('secret')
    await page.keyboard.press('Enter')
    await isShown(`${nurse} is registered`)
    await row(nurse).getByRole('button', { name: 'Disable' }).click()
    await dialog().getByRole('button', { name: 'Disable' }).click()
    await row(nurse).getByText('disabled').waitFor()
    // What cannot be undone is not what Enter does.
    await row(nurse).getByRole('button', { name: 'Remove' }).click()
    await page.keyboard.press('Enter')
    await dialog().waitFor({ state: 'detached' })
    await row(nurse).getByRole('button', { name: 'Remove' }).click()
    await dialog().getByRole('button', { name: 'Remove for good' }).click()
    await row(nurse).waitFor({ state: 'detached' })
    // 409 for the account that was there.
    assert.deepEqual(
      browser.complaints.splice(0).filter((text) => !text.includes('409')),
      [],
    )
  })

  test('can be used by everybody, on small and large screens, by day and night', async () => {
    await page.addInitScript(axe.source)
    await page.reload()
    const problems: string[] = []
    for (const name of VIEWS) {
      await opens(name)
      if (name === 'Trace') {
        await page.getByLabel('Account, resource or domain').fill(alice.bareJid)
        await page.getByRole('button', { name: 'Follow' }).click()
        await isShown(`Following ${alice.bareJid}`)
        alice.send(chat(bob.bareJid, 'It is my lady'))
        await page.locator('.trace summary').first().click()
      } else if (name === 'Route') await isShown('Live.')
      else await page.getByRole('row').nth(1).waitFor()
      problems.push(...(await problemsOf(name)))
      if (name !== 'Accounts') continue
      await page.getByRole('button', { name: 'Register an account' }).click()
      problems.push(...(await problemsOf('Question', ['dialog', 'heading'])))
      await page.keyboard.press('Escape')
    }
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.getByLabel('Token').waitFor()
    problems.push(...(await problemsOf('Login')))
    assert.deepEqual(problems, [])
    assert.deepEqual(browser.complaints, [])
  })

  test('moves only for who does not mind', async () => {
    await logIn(await tokenFor(server, 'admin'))
    await opens('Route')
    await isShown('Live.')
    for (const [reducedMotion, isMoved] of [
      ['reduce', false],
      ['no-preference', true],
    ] as const) {
      await page.emulateMedia({ reducedMotion })
      alice.send(chat(bob.bareJid, 'It is the east'))
      await page.locator('.route .is-moving').first().waitFor()
      const animations = await page.evaluate('document.getAnimations().length')
      assert.equal(Number(animations) > 0, isMoved, reducedMotion)
    }
  })

  test('finds modules and their handlers by name', async () => {
    await opens('Modules')
    const names = () => page.getByRole('rowheader').allTextContents()
    await row('announcements').first().waitFor()
    await row('carbons').first().getByText('XEP-0280').waitFor()
    await page.getByLabel('Module or hook').fill('Carbons')
    await row('announcements').first().waitFor({ state: 'detached' })
    const [module, ...hooks] = await names()
    assert.equal(module, 'carbons')
    assert.ok(hooks.includes('user_send_message') && !hooks.includes('remove_domain'))
    await page.getByLabel('Module or hook').fill('remove_domain')
    await row('archive').first().waitFor()
    assert.deepEqual(new Set(await names()), new Set(['remove_domain']))
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.getByLabel('Token').waitFor()
  })

  test('is used with the keyboard alone, in the order in which it is read', async () => {
    await logIn(await tokenFor(server, 'admin'))
    await page.setViewportSize(SIZES.desktop)
    await opens('Sessions')
    await row(alice.fullJid).waitFor()
    const focused = () => page.evaluate(NAME_OF_FOCUSED)
    // A view that was chosen is read from its heading on.
    assert.equal(await focused(), 'Sessions')
    const seen: string[] = []
    for (let i = 0; i < 4; i++) {
      await page.keyboard.press('Tab')
      seen.push(String(await focused()))
    }
    assert.deepEqual(seen.slice(0, 2), ['Search', 'Domain'])
    for (const name of seen.slice(2)) assert.match(name, /^End the session /)
    for (let i = 0; i < 3; i++) await page.keyboard.press('Shift+Tab')
    const before: string[] = []
    for (let i = 0; i < VIEWS.length + 2; i++) {
      await page.keyboard.press('Shift+Tab')
      before.unshift(String(await focused()))
    }
    assert.deepEqual(before, ['Skip to content', 'Log out', ...VIEWS])
    await page.keyboard.press('Enter')
    assert.equal(await focused(), 'main')

    // A question keeps the focus, and gives it back to what asked it.
    const button = page.getByRole('button', { name: `End the session ${alice.fullJid}` })
    await button.focus()
    await page.keyboard.press('Enter')
    await dialog().waitFor()
    for (let i = 0; i < 6; i++) {
      await page.keyboard.press('Tab')
      assert.ok(await page.evaluate(IS_IN_DIALOG))
    }
    await page.keyboard.press('Escape')
    await dialog().waitFor({ state: 'detached' })
    assert.equal(await focused(), `End the session ${alice.fullJid}`)
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.getByLabel('Token').waitFor()
  })

  test('shows only what a token is good for, and forgets it', async () => {
    const { token, id } = await server.server.tokens.create({
      name: 'warden',
      role: 'domain-admin',
      domains: [OTHER],
      expiresAt: undefined,
    })
    // A view that it is not good for, and so the first that it is.
    await page.goto(`${server.urlOf()}/admin/#modules`)
    await logIn(token)
    await page.getByRole('heading', { level: 1, name: 'Trace' }).waitFor()
    const views = await page.getByRole('navigation').getByRole('link').allTextContents()
    assert.deepEqual(views, ['Trace', 'Sessions', 'Accounts'])
    await opens('Accounts')
    assert.deepEqual(await page.getByLabel('Domain').locator('option').allTextContents(), [OTHER])
    await isShown('No accounts.')
    await server.server.tokens.revoke(id)
    await page.getByRole('link', { name: 'Sessions' }).click()
    await isShown('not good any more')
    await logIn(await tokenFor(server, 'read-only'))
    await opens('Sessions')
    await row(alice.fullJid).waitFor()
    assert.equal(await page.getByRole('button', { name: 'End', exact: true }).count(), 0)
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.reload()
    await page.getByLabel('Token').waitFor()
    assert.equal(await page.evaluate('sessionStorage.length'), 0)
  })

  /** Roles of what has to have a name for who does not see it. */
  const NAMED = /^(button|link|textbox|searchbox|combobox|checkbox|table|dialog|navigation)$/

  /** What is wrong with what screen readers are told. */
  async function untold(name: string, expected: readonly string[]): Promise<string[]> {
    const session = await page.context().newCDPSession(page)
    const { nodes } = await session.send('Accessibility.getFullAXTree')
    await session.detach()
    const told = nodes.filter(({ ignored }) => !ignored)
    const roles = told.map(({ role }) => String(role?.value))
    const nameless = told.filter(
      ({ role, name: text }) => NAMED.test(String(role?.value)) && !text?.value,
    )
    return [
      ...nameless.map(({ role }) => `${name}: a ${role?.value} without a name`),
      ...expected.filter((role) => !roles.includes(role)).map((role) => `${name}: no ${role}`),
    ]
  }

  /** What is wrong with what is shown now, in every look that it has. */
  async function problemsOf(
    name: string,
    roles: readonly string[] = ['main', 'heading', 'status'],
  ): Promise<string[]> {
    const problems: string[] = await untold(name, roles)
    for (const [size, viewport] of Object.entries(SIZES)) {
      await page.setViewportSize(viewport)
      for (const colorScheme of ['light', 'dark'] as const) {
        const where = `${name}-${size}-${colorScheme}`
        await page.emulateMedia({ colorScheme })
        // All but colours are the same by night.
        const rules = colorScheme === 'light' ? '' : `, runOnly: ['cat.color']`
        const options = `{ resultTypes: ['violations'], preload: false${rules} }`
        const { violations } = (await page.evaluate(`axe.run(${options})`)) as axe.AxeResults
        for (const { id, nodes } of violations) {
          problems.push(`${where}: ${id} ${nodes.map(({ html }) => html).join(' ')}`)
        }
        const wide = await page.evaluate('document.documentElement.scrollWidth - innerWidth')
        if (Number(wide) > 0) problems.push(`${where}: ${wide} pixels too wide`)
        const broken = await page.evaluate(BROKEN_NAMES)
        if (broken !== '') problems.push(`${where}: in more than one line: ${broken}`)
        if (pictures !== undefined) {
          await page.screenshot({ path: join(pictures, `${where}.png`), fullPage: true })
        }
      }
    }
    return problems
  }
})
