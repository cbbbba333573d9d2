import { el } from './dom.js'

/** Which domain a list is of. Who may see only some always chooses one of these. */
export function domainChoice({ domains, hosted }, onChange) {
  const all = domains === null ? [el('option', { value: '' }, 'All domains')] : []
  const options = hosted.map((name) => el('option', { value: name }, name))
  const select = el('select', { name: 'domain', onchange: onChange }, ...all, ...options)
  return {
    root: el('label', {}, 'Domain', select),
    get value() {
      return select.value
    },
    args: () => (select.value === '' ? {} : { domain: select.value }),
  }
}
