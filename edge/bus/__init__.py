"""One task per connection: what is written and read in which order, and what a failure costs."""
