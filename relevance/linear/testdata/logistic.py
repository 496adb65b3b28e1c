"""Multinomial logistic regression of random rows with soft labels by scikit-learn.

python3 -m venv venv && venv/bin/pip install scikit-learn==1.7.2 numpy==2.4.6
(cd relevance/linear/testdata && ../../../venv/bin/python logistic.py)
"""
import json
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

rng = np.random.default_rng(3)
cases = []
for n, features, classes, l2 in ((30, 3, 2, 1.0), (60, 5, 4, 3.0), (50, 4, 3, 100.0)):
    x = np.round(rng.normal(size=(n, features)) * rng.uniform(0.1, 10, features) + rng.normal(size=features), 4)
    y = np.round(rng.dirichlet(np.ones(classes) * 0.4, n), 3)
    y[:, -1] = 1 - y[:, :-1].sum(1)
    unseen = np.round(rng.normal(size=(5, features)) * 5, 4)
    scaler = StandardScaler().fit(x)
    # A soft label is a row for each class with its share as weight.
    row, label = np.where(y > 0)
    if classes == 2:  # scikit-learn fits one vector for two classes; the symmetric form has twice the penalty on half the vector
        model = LogisticRegression(C=2 / l2, tol=1e-12, max_iter=10000).fit(scaler.transform(x)[row], label, sample_weight=y[row, label])
        coefficients = np.vstack([-model.coef_ / 2, model.coef_ / 2])
    else:
        model = LogisticRegression(C=1 / l2, tol=1e-12, max_iter=10000).fit(scaler.transform(x)[row], label, sample_weight=y[row, label])
        coefficients = model.coef_
    cases.append(dict(l2=l2, x=x.tolist(), y=y.tolist(), coefficients=coefficients.tolist(), unseen=unseen.tolist(),
                      log_probs=model.predict_log_proba(scaler.transform(unseen)).tolist()))
json.dump(cases, open("logistic.json", "w"))
