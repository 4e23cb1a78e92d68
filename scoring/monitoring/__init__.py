"""Watch the models in use: a challenger in shadow, the figures of each day, an alert where one changes."""
