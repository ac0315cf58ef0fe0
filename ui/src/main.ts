/** Starts the console in the page. */

import './style/tokens.css';
import './style/base.css';
import { mount } from 'svelte';
import App from './App.svelte';
import { locale } from './i18n';

document.documentElement.lang = locale;
const target = document.getElementById('app');
if (target) mount(App, { target });
